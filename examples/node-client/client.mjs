// A small client of Intendant in another language, written from protocol/README.md alone.
//
//   npm ci
//   node client.mjs ENDPOINT submit ARGV...   queue a command; prints the run's id
//   node client.mjs ENDPOINT wait ID          wait for its end; prints the run, exits as it did
//   node client.mjs ENDPOINT logs ID          copy its output, as it is written
//   node client.mjs ENDPOINT cancel ID        end it
//
// ENDPOINT is the one that `intendant status` names. For tcp, INTENDANT_SERVER_KEY is the server's
// public key, INTENDANT_PUBLIC_KEY and INTENDANT_SECRET_KEY are those in your own key's file. A refusal is printed as `code: message`
// and exits with 1; where nobody answers in time, the exit status is 69.

import { randomUUID } from "node:crypto";
import { Dealer } from "zeromq";

const CLIENT = "MDPC02"; // RFC 18: header of a client's messages
const REQUEST = Buffer.from([1]);
const FINAL = Buffer.from([3]);
const VERSION = 1;
const PATIENCE_MS = 30_000; // longer than the pause between two signs of life in a stream

class Refused extends Error {
  constructor({ code, message }) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

class Unreachable extends Error {}

/** The options of CURVE (section 9), if there are keys. */
function keys({ INTENDANT_SERVER_KEY, INTENDANT_PUBLIC_KEY, INTENDANT_SECRET_KEY }) {
  return INTENDANT_SERVER_KEY
    ? {
        curveServerKey: INTENDANT_SERVER_KEY,
        curvePublicKey: INTENDANT_PUBLIC_KEY,
        curveSecretKey: INTENDANT_SECRET_KEY,
      }
    : {};
}

/** Each part of the answer, the FINAL last: the message, and the raw frame behind it, if any. */
async function* ask(endpoint, service, kind, fields) {
  const request = { kind, protocol_version: VERSION, ...fields };
  const socket = new Dealer({ linger: 0, receiveTimeout: PATIENCE_MS, ...keys(process.env) });
  socket.connect(endpoint);
  try {
    await socket.send([CLIENT, REQUEST, service, JSON.stringify(request)]);
    for (;;) {
      const [header, command, name, body, raw] = await socket.receive();
      if (header.toString() !== CLIENT || name.toString() !== service) {
        throw new Error("this is no answer of Majordomo 0.2");
      }
      const message = JSON.parse(body.toString());
      if (message.kind === "error_response") throw new Refused(message);
      yield { message, raw };
      if (command.equals(FINAL)) return;
    }
  } catch (error) {
    throw error.code === "EAGAIN" ? new Unreachable(`nobody answers at ${endpoint}`) : error;
  } finally {
    socket.close();
  }
}

/** The one answer of a short request. */
async function answer(endpoint, kind, fields) {
  for await (const { message } of ask(endpoint, "executor", kind, fields)) return message;
}

/** Our environment as a run gets it, without our keys: `NAME=value`, each ended by a NUL, in base64. */
function environment() {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith("INTENDANT_"));
  return Buffer.from(entries.map(([name, value]) => `${name}=${value}\0`).join("")).toString("base64");
}

const verbs = {
  async submit(endpoint, ...argv) {
    const spec = { workload: { kind: "command", argv, cwd: process.cwd() } };
    const run = { spec, secrets: { environment: environment() }, submission_key: randomUUID() };
    const { run_ids } = await answer(endpoint, "run_submit_request", { runs: [run] });
    console.log(run_ids[0]);
    return 0;
  },

  async wait(endpoint, id) {
    let run;
    const parts = ask(endpoint, "stream", "run_wait_request", { selection: [id] });
    for await (const { message } of parts) {
      if (message.kind === "runs_changed") run = message.runs.at(-1);
    }
    console.log(JSON.stringify(run));
    return run.outcome === "succeeded" ? 0 : (run.exit_code ?? 1);
  },

  async logs(endpoint, id) {
    const parts = ask(endpoint, "stream", "log_request", { selection: [id], follow: true });
    for await (const { message, raw } of parts) {
      if (message.kind === "log_chunk") process.stdout.write(raw);
    }
    return 0;
  },

  async cancel(endpoint, id) {
    const { runs } = await answer(endpoint, "run_cancel_request", { selection: [id] });
    for (const run of runs) console.log(`${run.id} ${run.state}`);
    return 0;
  },
};

async function main(endpoint, verb, ...rest) {
  if (!endpoint || !Object.hasOwn(verbs, verb ?? "") || rest.length === 0) {
    console.error(`usage: node client.mjs ENDPOINT ${Object.keys(verbs).join("|")} ARGUMENT...`);
    return 2;
  }
  try {
    return await verbs[verb](endpoint, ...rest);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    console.error(error.message);
    return error instanceof Refused ? 1 : 69;
  }
}

process.exitCode = await main(...process.argv.slice(2));
