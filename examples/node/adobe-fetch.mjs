// fetch() with Adobe's headers, and tokens of ims-token-broker. Copy this file; it needs Node.js 20 alone.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

const LEEWAY = 60_000; // milliseconds: ask again when a token has less left
const DEADLINE = 20_000;

/** A fetch for one IMS organisation. keyFile holds an API key or a projected token, and is read for each request to the broker. */
export function adobeFetch({ brokerUrl, org, keyFile }) {
  let token = null;
  let asking = null;

  async function ask(method, path, body) {
    const key = (await readFile(keyFile, "utf8")).trim();
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const url = `${brokerUrl}${path}?org=${encodeURIComponent(org)}`;
    const response = await fetch(url, { method, headers, body, signal: AbortSignal.timeout(DEADLINE) });
    if (!response.ok) throw new Error(`the broker answered ${response.status} (request ${response.headers.get("x-request-id")})`);
    token = await response.json();
    return token;
  }

  async function current() {
    const left = token ? Date.parse(token.expires_at) - Date.now() : 0;
    if (left > LEEWAY) return token;
    asking ??= ask("GET", "/token").finally(() => (asking = null));
    try {
      return await asking;
    } catch (error) {
      if (left > 0) return token; // the broker is unavailable: use the token to its end
      throw error;
    }
  }

  function send(input, init, used) {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${used.access_token}`);
    headers.set("x-api-key", used.client_id);
    headers.set("x-gw-ims-org-id", used.org_id);
    return fetch(input, { ...init, headers });
  }

  return async function (input, init = {}) {
    const used = await current();
    const response = await send(input, init, used);
    const canReplay = init.body === undefined || typeof init.body === "string";
    if (response.status !== 401 || !canReplay) return response;
    const problem = await response.clone().json().catch(() => ({}));
    if (String(problem.error_code) !== "401013") return response;
    const hash = createHash("sha256").update(used.access_token).digest("hex");
    const fresh = await ask("POST", "/token/report", JSON.stringify({ token_sha256: hash })).catch(() => null);
    return fresh ? send(input, init, fresh) : response;
  };
}
