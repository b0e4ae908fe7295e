// Gets a token from the broker with openid-client, unchanged, and prints it as JSON.
//
// Arguments: base URL, client id, client secret, org, and "basic" or "form".
import * as client from "openid-client";

const [base, id, secret, org, style] = process.argv.slice(2);
const authentication = style === "form" ? client.ClientSecretPost(secret) : client.ClientSecretBasic(secret);

try {
  // The broker describes itself (RFC 8414); plain http is for loopback only.
  const config = await client.discovery(new URL(base), id, undefined, authentication, {
    algorithm: "oauth2",
    execute: [client.allowInsecureRequests],
    timeout: 20,
  });
  const token = await client.clientCredentialsGrant(config, { org });
  console.log(
    JSON.stringify({
      access_token: token.access_token,
      token_type: token.token_type,
      expiry: Date.now() / 1000 + token.expiresIn(),
    }),
  );
} catch (error) {
  // Of a 401, openid-client reports the challenge that HTTP asks for, and leaves the body to be read.
  const said = error instanceof client.WWWAuthenticateChallengeError ? await error.response.json() : error;
  console.error(`${error.name}: ${said.error ?? error.message}`);
  process.exitCode = 1;
}
