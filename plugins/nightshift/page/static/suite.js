// Sends what a person says of an item, as the person who is logged in.
"use strict";

const WORDS = { accepted: "Accepted.", edited: "Accepted with your answer.", dropped: "Dropped.", reopened: "It waits again." };
const waiting = document.getElementById("waiting");

async function send(form, action) {
  const said = form.querySelector(".said");
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => (button.disabled = true));
  said.className = "said";
  said.textContent = "Saving …";
  const word = { item: form.dataset.item, seen: Number(form.dataset.seen), action };
  if (action === "accept") word.answer = form.answer.value;
  try {
    const answer = await fetch("suite/review", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(word),
    });
    const body = await answer.json();
    if (!answer.ok) throw new Error(typeof body.detail === "string" ? body.detail : `The page answered ${answer.status}.`);
    form.dataset.seen = body.number;
    form.dataset.state = action === "reopen" ? "" : body.verdict;
    if (form.answer) form.answer.disabled = action !== "reopen";
    waiting.textContent = Number(waiting.textContent) + (action === "reopen" ? 1 : -1);
    said.textContent = WORDS[body.verdict];
  } catch (error) {
    said.className = "said bad";
    said.textContent = error.message;
  }
  buttons.forEach((button) => (button.disabled = false));
}

document.querySelectorAll("form[data-item]").forEach((form) =>
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, event.submitter.value);
  }),
);
