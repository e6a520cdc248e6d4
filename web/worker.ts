/** The Worker in which the machine runs. One machine a Worker; the page ends the Worker when the machine has ended. */
import { VmError } from "../src/base/errors.js";
import { BrowserHost } from "../src/host/browser/host.js";
import { createBoard } from "../src/machine/boards.js";
import { Machine, type MachineEnd } from "../src/machine/vm.js";
import { pageConfig } from "./machine.js";
import type { FromWorker, PageMachine, ToWorker } from "./protocol.js";
import { ScreenFeed } from "./screen.js";

/** Also short enough for keys that repeat. */
const KEY_HOLD_MS = 30;

/** The part of DedicatedWorkerGlobalScope that is used. */
const scope = self as unknown as {
  postMessage(message: FromWorker, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
};

function post(message: FromWorker, transfer: Transferable[] = []): void {
  scope.postMessage(message, transfer);
}

const notes: string[] = [];
const host = new BrowserHost(new URL(".", self.location.href).href, (line) => {
  notes.push(line);
  console.warn(line);
});
let machine: Machine | undefined;
let serial: WritableStreamDefaultWriter<Uint8Array | string> | undefined;
const screen = new ScreenFeed(() => machine?.inspect.display(), post);
let watching = false;

function fail(error: unknown): void {
  const detail =
    error instanceof VmError ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
  post({ kind: "status", status: "error", detail });
}

async function start(page: PageMachine): Promise<void> {
  const config = await pageConfig(page, host);
  const m = await Machine.create(config, {
    host,
    createBoard,
    openMonitor: () => {
      throw new VmError("option/unsupported", "a page has no monitor");
    },
  });
  machine = m;
  const streams = m.serial();
  serial = streams.writable.getWriter();
  void forward(streams.readable);
  void follow(m);
  void m.ended.then(ended);
  m.run();
  screen.watch(watching);
}

async function forward(output: ReadableStream<Uint8Array>): Promise<void> {
  const reader = output.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    // Copied: what comes may be a view of a larger buffer.
    post({ kind: "serial", data: value.slice() });
  }
}

/** Tells the page of each change between running and not. */
async function follow(m: Machine): Promise<void> {
  for await (const event of m.events()) {
    if (event.type === "resume" || event.type === "wakeup") post({ kind: "status", status: "running" });
    else if (event.type === "stop") post({ kind: "status", status: "paused", detail: m.runState === "paused" ? "" : m.runState });
    else if (event.type === "io-error") notes.push(`${event.drive}: ${event.message}`);
  }
}

function ended(end: MachineEnd): void {
  screen.watch(false);
  const failed = end.reason === "internal-error" || end.reason === "guest-panicked";
  post({ kind: "status", status: failed ? "error" : "stopped", detail: [end.reason, ...notes.slice(-1)].join(": ") });
}

function command(m: Machine, name: Extract<ToWorker, { kind: "command" }>["command"]): void {
  switch (name) {
    case "pause":
      void m.pause().catch(fail);
      break;
    case "resume":
      m.run();
      break;
    case "reset":
    case "powerdown":
    case "quit":
      m[name]();
  }
}

scope.onmessage = ({ data }) => {
  try {
    switch (data.kind) {
      case "start":
        start(data.machine).catch(fail);
        break;
      case "serial":
        void serial?.write(data.data).catch(() => {});
        break;
      case "keys":
        machine?.sendKeys(data.names, KEY_HOLD_MS);
        break;
      case "watch":
        watching = data.screen;
        if (machine) screen.watch(watching);
        break;
      case "command":
        if (machine) command(machine, data.command);
    }
  } catch (error) {
    // The machine may have ended in between, and keys have names it does not know: nothing to do.
    if (!(error instanceof VmError)) fail(error);
  }
};
