// What HTML alone cannot do: Airflow's theme, links out of Airflow's frame, and the buttons.
"use strict";

const framed = window.parent !== window;

// Airflow keeps its theme in this origin's storage. Without one the page takes the system's.
function applyTheme() {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}
applyTheme();
window.addEventListener("storage", applyTheme);

// Airflow's frame is sandboxed, so Airflow's own document has to follow the link.
function follow(link) {
  const copy = window.parent.document.createElement("a");
  copy.href = link.href;
  if (link.dataset.out === "tab") Object.assign(copy, { target: "_blank", rel: "noopener" });
  window.parent.document.body.append(copy);
  copy.click();
  copy.remove();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-out]");
  if (framed && link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    follow(link);
  }
  const opener = event.target.closest("button[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
  if (event.target.closest("button[data-closes]")) event.target.closest("dialog").close();
});

// The line under the strip describes the night under the pointer.
const told = document.getElementById("told");
document.addEventListener("mouseover", (event) => {
  const cell = event.target.closest(".month > a");
  if (cell) told.textContent = cell.title;
});

// Opens the closed part that holds the row of the address.
function openTarget() {
  const row = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = row && row.closest("details");
  if (part) part.open = true;
  if (row) row.scrollIntoView({ block: "center" });
}
window.addEventListener("hashchange", openTarget);

// A button starts a DAG run through Airflow's REST API, as the person who is logged in.
const VALUES = {
  nightly_retrain: (form) => ({
    night: form.night.value || null,
    force: form.force.checked,
    ...(form.attempt.valueAsNumber > 1 && { attempt: form.attempt.valueAsNumber }),
  }),
  promote: (form) => ({ version: form.version.value || null }),
  rollback: (form) => ({ reason: form.reason.value.trim() }),
};

async function start(form) {
  const dag = form.dataset.dag;
  const said = form.querySelector(".said");
  const button = form.querySelector("button.main");
  button.disabled = true;
  said.className = "said";
  said.textContent = "Starting …";
  const root = document.body.dataset.root;
  try {
    const answer = await fetch(`${root}/api/v2/dags/${dag}/dagRuns`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ logical_date: null, conf: VALUES[dag](form) }),
    });
    const body = await answer.json();
    if (!answer.ok) throw new Error(typeof body.detail === "string" ? body.detail : `Airflow answered ${answer.status}.`);
    const link = document.createElement("a");
    link.href = `${root}/dags/${dag}/runs/${encodeURIComponent(body.dag_run_id)}`;
    link.dataset.out = "top";
    link.textContent = "See the run";
    said.replaceChildren("Started. ", link);
  } catch (error) {
    said.className = "said bad";
    said.textContent = error.message;
    button.disabled = false;
  }
}

document.querySelectorAll("form[data-dag]").forEach((form) =>
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start(form);
  }),
);
