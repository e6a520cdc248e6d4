/** The page: a serial console, a screen, and buttons for one machine that runs in a Worker. */
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import "./main.css";
import { typeText } from "../src/ui/keymap.js";
import { isModifier, keyName } from "./keys.js";
import type { FromWorker, PageMachine, PageStatus, ToWorker } from "./protocol.js";

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const terminal = new Terminal({ cols: 100, rows: 32, scrollback: 5000, fontSize: 14, screenReaderMode: true });
terminal.open(element("terminal"));

const canvas = element<HTMLCanvasElement>("screen");
const canvas2d = canvas.getContext("2d", { alpha: false });
let worker: Worker | undefined;
let status: PageStatus = "stopped";

function send(message: ToWorker): void {
  worker?.postMessage(message);
}

const BUTTONS = ["pause", "reset", "powerdown", "quit", "cad"] as const;

function setStatus(next: PageStatus, detail = ""): void {
  status = next;
  const label = element("status");
  label.textContent = next;
  label.dataset.status = next;
  element("detail").textContent = detail;
  const live = next === "running" || next === "paused";
  for (const id of BUTTONS) element<HTMLButtonElement>(id).disabled = !live;
  element<HTMLButtonElement>("start").disabled = live || next === "loading";
  element("pause").textContent = next === "paused" ? "Resume" : "Pause";
}

function fromWorker(message: FromWorker): void {
  switch (message.kind) {
    case "serial":
      terminal.write(message.data);
      break;
    case "surface":
      if (canvas.width !== message.width) canvas.width = message.width;
      if (canvas.height !== message.height) canvas.height = message.height;
      canvas2d?.putImageData(new ImageData(message.pixels, message.width, message.height), 0, 0);
      break;
    case "status":
      setStatus(message.status, message.detail);
      if (message.status === "stopped" || message.status === "error") {
        worker?.terminate();
        worker = undefined;
      }
  }
}

function chosen(id: string): File | undefined {
  return element<HTMLInputElement>(id).files?.[0];
}

function start(): void {
  if (!crossOriginIsolated) {
    setStatus("error", "The server must send the COOP and COEP headers: shared memory is switched off in this page.");
    return;
  }
  terminal.reset();
  element<HTMLDetailsElement>("settings").open = false;
  const machine: PageMachine = {
    memoryMiB: element<HTMLInputElement>("memory").valueAsNumber || 128,
    append: element<HTMLInputElement>("append").value,
    kernel: chosen("kernel"),
    initrd: chosen("initrd"),
    disk: chosen("disk"),
    cdrom: chosen("cdrom"),
  };
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = (event: MessageEvent<FromWorker>) => fromWorker(event.data);
  worker.onerror = (event) => setStatus("error", event.message || "the machine's Worker could not be loaded");
  setStatus("loading");
  send({ kind: "start", machine });
  send({ kind: "watch", screen: !element("view-screen").hidden });
}

element("start").onclick = start;
element("pause").onclick = () => send({ kind: "command", command: status === "paused" ? "resume" : "pause" });
for (const command of ["reset", "powerdown", "quit"] as const)
  element(command).onclick = () => send({ kind: "command", command });
element("cad").onclick = () => send({ kind: "keys", names: ["ctrl", "alt", "delete"] });
element("form").onsubmit = (event) => event.preventDefault();

const encoder = new TextEncoder();
terminal.onData((text) => send({ kind: "serial", data: encoder.encode(text) }));
terminal.onBinary((text) => send({ kind: "serial", data: Uint8Array.from(text, (c) => c.charCodeAt(0)) }));

// The screen's keyboard: each key is sent with the modifiers that are down; a modifier alone when it comes up again.
const modifiers = new Set<string>();
let lone: string | undefined;
canvas.onkeydown = (event) => {
  const name = keyName(event.code);
  if (!name) return;
  event.preventDefault();
  if (isModifier(name)) {
    modifiers.add(name);
    if (!event.repeat) lone = name;
    return;
  }
  lone = undefined;
  // On-screen keyboards give capitals without a shift key.
  const [typed] = event.key.length === 1 ? typeText(event.key) : [];
  const bareCapital = modifiers.size === 0 && typed?.[0] === "shift" && !event.getModifierState("CapsLock");
  send({ kind: "keys", names: bareCapital ? typed : [...modifiers, name] });
};
canvas.onkeyup = (event) => {
  const name = keyName(event.code);
  if (!name || !isModifier(name)) return;
  event.preventDefault();
  modifiers.delete(name);
  if (lone === name) send({ kind: "keys", names: [name] });
  lone = undefined;
};
canvas.onblur = () => modifiers.clear();

function show(view: "console" | "screen"): void {
  for (const name of ["console", "screen"]) {
    element(`view-${name}`).hidden = name !== view;
    element(`tab-${name}`).setAttribute("aria-selected", String(name === view));
  }
  send({ kind: "watch", screen: view === "screen" });
  if (view === "console") terminal.focus();
  else canvas.focus();
}
element("tab-console").onclick = () => show("console");
element("tab-screen").onclick = () => show("screen");

/** The console's text, for tests and for scripts that drive the page. */
function consoleText(): string {
  const { active } = terminal.buffer;
  let text = "";
  for (let i = 0; i < active.length; i++) {
    const line = active.getLine(i);
    if (line) text += (line.isWrapped || i === 0 ? "" : "\n") + line.translateToString(true);
  }
  return text.trimEnd();
}
Object.assign(globalThis, { tandem: { consoleText } });

setStatus("stopped");
terminal.focus();
if (new URLSearchParams(location.search).has("start")) start();
