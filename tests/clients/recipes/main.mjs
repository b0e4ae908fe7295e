// Calls an API once for each line of standard input, with the fetch of the recipe, and prints each status.
import { createInterface } from "node:readline";
import { adobeFetch } from "./adobe-fetch.mjs";

const [brokerUrl, org, keyFile, api] = process.argv.slice(2);
const call = adobeFetch({ brokerUrl, org, keyFile });
for await (const _ of createInterface({ input: process.stdin })) {
  console.log(await call(api).then((response) => response.status, (error) => error.message));
}
