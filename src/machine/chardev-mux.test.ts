import assert from "node:assert/strict";
import { test } from "node:test";
import type { Chardev, ChardevFrontend } from "../host/chardev.js";
import { ChardevMux } from "./chardev-mux.js";

function setup() {
  const log: string[] = [];
  let frontend: ChardevFrontend | undefined;
  const backend: Chardev = {
    id: "m",
    write: (d) => void log.push(`out:${new TextDecoder().decode(d)}`),
    attach: (f) => {
      frontend = f;
    },
    resume: () => {},
    close: () => {},
  };
  let now = 0;
  const mux = new ChardevMux(backend, {
    quit: () => void log.push("quit"),
    flushDisks: () => void log.push("flush"),
    nowMs: () => now,
  });
  const port = (name: string, room = { n: 100 }) => {
    const p = mux.port();
    p.attach({
      canReceive: () => room.n,
      receive: (d) => {
        room.n -= d.length;
        log.push(`${name}:${JSON.stringify(new TextDecoder().decode(d))}`);
      },
      event: (e) => void log.push(`${name}:${e}`),
    });
    return p;
  };
  const type = (text: string) => frontend?.receive(new TextEncoder().encode(text));
  return { log, port, type, tick: (ms: number) => (now += ms), take: () => log.splice(0) };
}

test("Ctrl-a commands", () => {
  const { port, type, take } = setup();
  port("a");
  port("b");
  const rows: [string, string[]][] = [
    ["hi", ['a:"hi"']],
    ["\x01\x01", ['a:"\\u0001"']],
    ["\x01c", ["a:closed", "b:opened"]],
    ["info", ['b:"info"']],
    ["\x01b", ["b:break"]],
    ["\x01c", ["b:closed", "a:opened"]],
    ["\x01s", ["flush"]],
    ["\x01z", []],
    ["\x01x", ["out:Tandem: Terminated\n\r", "quit"]],
  ];
  take();
  for (const [keys, expected] of rows) {
    type(keys);
    assert.deepEqual(take(), expected, JSON.stringify(keys));
  }
  type("\x01h");
  assert.match(take().join(""), /C-a x {4}exit emulator/);
});

test("input waits for room, and Ctrl-a works meanwhile", () => {
  const { port, type, take } = setup();
  const room = { n: 2 };
  const p = port("a", room);
  take();
  type("abcd\x01x");
  assert.deepEqual(take(), ["out:Tandem: Terminated\n\r", "quit", 'a:"ab"']);
  room.n = 10;
  p.resume();
  assert.deepEqual(take(), ['a:"cd"']);
});

test("timestamps", () => {
  const { port, type, take, tick } = setup();
  const p = port("a");
  type("\x01t");
  take();
  p.write(new TextEncoder().encode("x\n"));
  tick(61234);
  p.write(new TextEncoder().encode("y"));
  p.write(new TextEncoder().encode("z"));
  assert.deepEqual(take(), ["out:x\n", "out:[00:00:00.000] y", "out:z"]);
});
