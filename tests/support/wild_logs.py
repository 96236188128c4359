"""Logs that nobody cleaned, for `inspect`: name -> bytes. Each holds some rows that can be kept."""

import json

from tests.support.logs import as_array, as_csv, as_jsonl

WORDS = ("billing", "delivery", "returns")
START = 1_767_427_200  # 2026-01-03 08:00 UTC


def pairs(n=30, **more):
    """Questions and answers. One of `more`: a value, a list to go round, or a function of the row number."""
    rows = [{"prompt": f"Case {i}: where does it go?", "completion": WORDS[i % 3]} for i in range(n)]
    for name, value in more.items():
        for i, row in enumerate(rows):
            row[name] = (
                value(i) if callable(value) else value[i % len(value)] if isinstance(value, list) else value
            )
    return rows


def renamed(rows, **names):
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


def chat(i, **more):
    turns = [{"role": "user", "content": f"Case {i}?"}, {"role": "assistant", "content": WORDS[i % 3]}]
    return {"messages": turns, **more}


def completion(i):
    return {"id": f"c-{i}", "choices": [{"message": {"role": "assistant", "content": WORDS[i % 3]}}]}


def asked(i):
    return [{"role": "user", "content": f"Case {i}?"}]


LOGS = {
    "repeating ids.jsonl": as_jsonl(pairs(id=lambda i: f"conv-{i % 4}")),
    "user.id.jsonl": as_jsonl(
        pairs(user=lambda i: {"id": f"u{i % 5}"}, session=lambda i: {"id": f"s{i % 9}"})
    ),
    "device.jsonl": as_jsonl(pairs(device=lambda i: {"uuid": f"d{i % 3}"}, customer={"id": "acme"})),
    "own id repeats.jsonl": as_jsonl(pairs(request_id=lambda i: f"r{i % 10}")),
    "copies.jsonl": as_jsonl([*pairs(id=lambda i: f"r{i}"), *pairs(id=lambda i: f"r{i}")]),
    "labels in many spellings.jsonl": as_jsonl(
        pairs(completion=["Yes", "yes ", "YES.", "no", "Nо".replace("о", "o")])
    ),
    "labels in NFD.jsonl": as_jsonl(pairs(completion=["cafe\u0301", "caf\u00e9", " Café ", "thé"])),
    "year 1.jsonl": as_jsonl(
        pairs(ts=lambda i: "0001-01-01T00:00:00Z" if i == 3 else "2026-01-03T08:00:00Z")
    ),
    "year 9999.jsonl": as_jsonl(
        pairs(ts=lambda i: "9999-12-31T23:59:59Z" if i == 3 else "2026-01-03T08:00:00Z")
    ),
    "epoch zero.jsonl": as_jsonl(pairs(ts=lambda i: 0 if i in (3, 4) else START + i)),
    "numbers as dates.jsonl": as_jsonl(pairs(date=lambda i: 20260101 + i % 5)),
    "own ts of excel.jsonl": as_jsonl(pairs(ts=lambda i: 46025.5 + i % 5)),
    "excel.csv": as_csv(pairs(timestamp=lambda i: 46025.5 + i)),
    "us dates.csv": as_csv(pairs(created_at="01/02/2026 13:00")),
    "rfc 2822.jsonl": as_jsonl(pairs(date="Sat, 03 Jan 2026 08:00:00 +0000")),
    "like or dislike.jsonl": as_jsonl(pairs(rating=[0, 1, None])),
    "stars of one.jsonl": as_jsonl(pairs(stars=1)),
    "star words.csv": as_csv(pairs(rating=["5 stars", "1 star", "3 stars"])),
    "star signs.jsonl": as_jsonl(pairs(rating=["★★★★☆", "★☆☆☆☆", "⭐⭐⭐"])),
    "percent.jsonl": as_jsonl(pairs(rating=["90%", "10 %"])),
    "of hundred.jsonl": as_jsonl(pairs(rating=[0, 35, 60, 100])),
    "skin tones.jsonl": as_jsonl(pairs(rating=["👍🏽", "👎️", "👍"])),
    "decimal comma.csv": as_csv(pairs(rating=["4,5", "1,0", "3"]), ";"),
    "model score.jsonl": as_jsonl(pairs(score=lambda i: -0.123 * i)),
    "price.jsonl": as_jsonl(pairs(value=lambda i: 19.99 + i)),
    "comments.jsonl": as_jsonl(pairs(feedback=lambda i: f"Well, this was number {i}, and it was fine.")),
    "unknown words.jsonl": as_jsonl(pairs(rating=["bof", "super"])),
    "alpaca.json": as_array(
        renamed(
            pairs(input=["", "the text of the case", "more text of it"]),
            prompt="instruction",
            completion="output",
        )
    ),
    "dolly.jsonl": as_jsonl(
        renamed(pairs(context="A parcel is a box of things."), prompt="instruction", completion="response")
    ),
    "documents.jsonl": as_jsonl(
        [chat(i, documents=[{"text": "a long document of words"}]) for i in range(30)]
    ),
    "empty answers.jsonl": as_jsonl(pairs(completion=["billing", "", "delivery", "  "])),
    "broken rules.jsonl": as_jsonl(pairs(latency_ms=[5, 9e9], locale=["en", "Deutsch"], tokens_in=[3, 0])),
    "language words.jsonl": as_jsonl(pairs(language=["English", "German"])),
    "other keys in each row.jsonl": as_jsonl(
        [row | {f"key-{i}-{j}": 1 for j in range(9)} for i, row in enumerate(pairs())]
    ),
    "litellm.jsonl": as_jsonl(
        [
            {
                "id": f"c{i}",
                "messages": asked(i),
                "response": completion(i),
                "startTime": START + i,
                "endTime": START + i,
                "model": "m",
            }
            for i in range(9)
        ]
    ),
    "langfuse.jsonl": as_jsonl(
        [
            {
                "id": f"o{i}",
                "traceId": f"t{i}",
                "type": ("GENERATION", "SPAN")[i % 2],
                "startTime": "2026-01-03T08:00:00Z",
                "input": f"Case {i}?",
                "output": WORDS[i % 3],
            }
            for i in range(20)
        ]
    ),
    "azure.jsonl": as_jsonl(
        [
            {
                "time": "2026-01-03T08:00:00Z",
                "operationName": "x",
                "resourceId": "/subscriptions/1",
                "properties": {
                    "backendRequestBody": {"messages": asked(i)},
                    "backendResponseBody": json.dumps(completion(i)),
                },
            }
            for i in range(20)
        ]
    ),
    "helicone.jsonl": as_jsonl(
        [
            {
                "request_id": f"r{i}",
                "request_body": {"messages": asked(i)},
                "response_body": completion(i),
                "helicone_user": "x",
            }
            for i in range(20)
        ]
    ),
    "langsmith.jsonl": as_jsonl(
        [
            {
                "id": f"r{i}",
                "run_type": "llm",
                "start_time": "2026-01-03T08:00:00",
                "inputs": {"messages": [asked(i)]},
                "outputs": {"generations": [[{"text": WORDS[i % 3]}]]},
            }
            for i in range(20)
        ]
    ),
    "own system prompts.jsonl": as_jsonl(
        [
            {"messages": [{"role": "system", "content": f"You serve user {i}."}, *chat(i)["messages"]]}
            for i in range(30)
        ]
    ),
    "escapes.jsonl": as_jsonl(
        pairs(
            note="\x1b[2J\x1b[31m red [red]alert[/red] \u202egnp.exe \r\x07 \x9b2J in words",
            **{"k\x1b[2J": "a b c"},
        )
    ),
    "one row.jsonl": as_jsonl(pairs(1)),
    "one column.csv": as_csv([{"messages": chat(i)["messages"]} for i in range(5)]),
    "null columns.jsonl": as_jsonl(pairs(id=None, ts=None, rating=None, tenant=None, tokens_in=None)),
    "three deep.jsonl": as_jsonl(
        [
            {"a": {"b": {"c": {"messages": chat(i)["messages"]}}}, "meta": {"user": {"id": i % 3}}}
            for i in range(20)
        ]
    ),
    "bom.csv": b"\xef\xbb\xbf" + as_csv(pairs(rating=[1, -1])),
    "utf16.csv": as_csv(pairs(rating=[1, -1]), "\t", "utf-16"),
    "big cells.jsonl": as_jsonl(pairs(5, prompt="word " * 5_000)),
    "too big.jsonl": as_jsonl(pairs(9, prompt=["word " * 20_000, "short", "brief"])),
    "two kinds.jsonl": as_jsonl([*pairs(), *[chat(i, id=f"x{i}") for i in range(30)]]),
    "odd keys.jsonl": as_jsonl(
        pairs(**{"a.b": 1, "c d": 2, 'e"f': 3, "😀": 4, "g\nh": 5, "": 6, "x'y\\": 7, "1": 8})
    ),
    "odd names.jsonl": as_jsonl(renamed(pairs(), prompt='Quest"ion\n', completion="An.swer")),
    "tricky \"name\" = [x] #1 \\ 'q'.jsonl": as_jsonl(pairs()),
    "new\nline \x1b[2J.jsonl": as_jsonl(pairs()),
    "numbers as names.csv": as_csv(renamed(pairs(), prompt="1", completion="2")),
    "japanese.jsonl": as_jsonl(
        pairs(prompt=lambda i: f"荷物が届きません。番号は{i}です。" * 9, completion=["配達", "請求"])
    ),
    "arabic.jsonl": as_jsonl(pairs(prompt=lambda i: f"أين طردي رقم {i}؟", completion=["توصيل", "فاتورة"])),
    "sentences as users.jsonl": as_jsonl(renamed(pairs(), prompt="user", completion="assistant")),
    "json answers.jsonl": as_jsonl(pairs(completion=lambda i: json.dumps({"label": WORDS[i % 3]}))),
    "tenants of one.jsonl": as_jsonl(pairs(account=lambda i: f"acc-{i}")),
    "user times.jsonl": as_jsonl(
        pairs(user={"id": "u", "created_at": "2019-01-01T00:00:00Z"}, id=lambda i: i)
    ),
    "infinite.jsonl": as_jsonl(pairs(rating=["inf", "1", "-1"])),
    "braces {night}.jsonl": as_jsonl(pairs()),
    "ratings as objects.jsonl": as_jsonl(pairs(rating=[{"value": 1}, {"value": -1}])),
    "far future.jsonl": as_jsonl(pairs(ts="2126-01-03T08:00:00Z")),
    "some opt out.jsonl": as_jsonl(
        [row | ({"opt_out": True} if i < 3 else {}) for i, row in enumerate(pairs())]
    ),
    "consent deep.jsonl": as_jsonl(pairs(meta=lambda i: {"no_training": i % 3 == 0})),
    "consent in words.jsonl": as_jsonl(pairs(training_consent=["maybe", "later"])),
    "instructions.jsonl": as_jsonl(pairs(instructions="Answer with one label.")),
    "our name, other values.jsonl": as_jsonl(pairs(Request_ID=lambda i: i % 3, Locale="English")),
    "bad route.jsonl": as_jsonl(pairs(route="/v1/chat")),
}
