"""Warm requests, 30 % of them to be refused, against the same load without them; every answer is checked.

10 % bear forged API keys, 10 % ask for an org that the caller may not have, 10 % bear JWTs that have expired. A request
names in its id what it is, and the broker sends the id back, so that the load knows which status is right.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from app.domain.api_key import SECRET_BYTES, new_api_key
from benchmarks.load import Asked, Effort, take_turns
from benchmarks.report import Row, at_least
from benchmarks.scene import Scene, org, scene

GOOD_SHARE = 0.7
_FORGED = 1000

# A refused address has 429 instead of 401 after 1,000 refusals, and 100 more a second (app/api/failing_sources.py).
_SCRIPT = """
local right = {{good = {{[200] = true}}, denied = {{[403] = true}},
               forged = {{[401] = true, [429] = true}}, expired = {{[401] = true, [429] = true}}}}
local bearers = {{{forged}}}
local serial, is_mixed = 0, {is_mixed}
seen, wrong = 0, 0

local function requested(kind, path, bearer)
  return wrk.format("GET", path, {{["Authorization"] = "Bearer " .. bearer, ["X-Request-Id"] = kind}})
end

local good, denied, expired
function init(args)
  good = requested("good", "{good}", "{key}")
  denied = requested("denied", "{denied}", "{key}")
  expired = requested("expired", "{good}", "{expired}")
end

function request()
  serial = serial + 1
  local turn = serial % 10
  if not is_mixed or turn > 2 then return good end
  if turn == 0 then return denied end
  if turn == 1 then return expired end
  return requested("forged", "{good}", bearers[serial % #bearers + 1])
end

function response(status, headers)
  local kind = headers["x-request-id"] or headers["X-Request-Id"] or ""
  seen = seen + 1
  if not (right[kind] and right[kind][status]) then wrong = wrong + 1 end
end

local threads = {{}}
function setup(thread) table.insert(threads, thread) end
function done()
  for _, thread in ipairs(threads) do
    print("right answers: " .. thread:get("seen") - thread:get("wrong") .. " of " .. thread:get("seen"))
  end
end
"""


def measure(effort: Effort) -> list[Row]:
    """The rows of the mixed load."""
    with scene(2) as stage:
        stage.write_policy(org(0))
        broker = stage.start_broker()
        asked = {
            name: Asked(broker.url("/"), [broker.pid], (), _script(stage, name), may_fail=name == "mixed")
            for name in ("mixed", "all good")
        }
        turns = take_turns(asked, effort)
    answers = [_right(run.output) for run in turns.samples["mixed"]]
    right, total = sum(right for right, _ in answers), sum(total for _, total in answers)
    reason = (
        "A refused request is answered at the connection, too, but costs more than a warm one: a forged credential "
        "is hashed twice and looked up, one that was denied is a line of its own in the audit log "
        "(docs/performance.md)."
    )
    rate, reference = GOOD_SHARE * turns.median("mixed"), turns.median("all good")
    seen = f"{rate:,.0f} good ones against {GOOD_SHARE:.0%} of {reference:,.0f}/CPU s"
    return [
        Row("right answers to a load with 30 % to refuse", "", at_least(100, "%"), 100 * right / total, f"{total:,}"),
        Row(
            "good requests among them",
            "70 % of a load that is all good",
            at_least(0.8),
            turns.ratio("mixed", "all good"),
            seen,
            reason,
        ),
    ]


def _script(stage: Scene, name: str) -> Path:
    script = stage.folder / f"{name}.lua".replace(" ", "-")
    forged = (new_api_key("bench", secrets.token_bytes(SECRET_BYTES)) for _ in range(_FORGED))
    script.write_text(
        _SCRIPT.format(
            forged=", ".join(f'"{key}"' for key in forged),
            is_mixed=str(name == "mixed").lower(),
            good=f"/token?org={org(0)}",
            denied=f"/token?org={org(1)}",
            key=stage.key,
            expired=stage.jwt(seconds=-600),
        )
    )
    return script


def _right(output: str) -> tuple[int, int]:
    """How many answers were right, of how many."""
    found = re.search(r"right answers: (\d+) of (\d+)", output)
    assert found is not None, output
    return int(found[1]), int(found[2])
