import assert from "node:assert/strict";
import { test } from "node:test";
import type { Chardev, ChardevFrontend } from "../../host/chardev.js";
import { IrqLine } from "../core/irq.js";
import { testContext } from "../misc/test-context.js";
import { Uart16550, type UartOptions } from "./uart16550.js";

class Wire implements Chardev {
  readonly id = "wire";
  out: number[] = [];
  queue: number[] = [];
  frontend: ChardevFrontend | undefined;
  write(data: Uint8Array): void {
    this.out.push(...data);
  }
  attach(f: ChardevFrontend | undefined): void {
    this.frontend = f;
  }
  resume(): void {
    const n = Math.min(this.frontend?.canReceive() ?? 0, this.queue.length);
    if (n > 0) this.frontend!.receive(Uint8Array.from(this.queue.splice(0, n)));
  }
  close(): void {}
  type(...bytes: number[]): void {
    this.queue.push(...bytes);
    this.resume();
  }
}

function port(options: UartOptions = {}) {
  const ctx = testContext();
  const wire = new Wire();
  let edges = 0;
  const irq: IrqLine = new IrqLine((l) => {
    if (l) edges++;
  });
  const uart = new Uart16550(ctx, irq, wire, options);
  uart.map(ctx.io, 0x3f8);
  const o = (r: number, v: number) => ctx.io.write(0x3f8 + r, 1, v);
  const i = (r: number) => ctx.io.read(0x3f8 + r, 1);
  return { ctx, wire, irq, uart, o, i, edges: () => edges };
}
type P = ReturnType<typeof port>;

const rows: [string, (p: P) => unknown, unknown][] = [
  ["reset values", (p) => [1, 2, 3, 4, 5, 6, 7].map((r) => p.i(r)), [0, 1, 0, 0, 0x60, 0xb0, 0]],
  [
    "divisor latch",
    (p) => {
      p.o(3, 0x83);
      p.o(0, 1);
      p.o(1, 2);
      const d = [p.i(0), p.i(1)];
      p.o(3, 3);
      return [...d, p.i(1)];
    },
    [1, 2, 0],
  ],
  [
    "a byte out",
    (p) => {
      p.o(0, 0x41);
      return [p.wire.out, p.i(5)];
    },
    [[0x41], 0x60],
  ],
  [
    "THRI: enabling makes it pending, reading IIR clears it, each write is an edge",
    (p) => {
      p.o(1, 2);
      const a = [p.irq.level, p.i(2), p.irq.level, p.i(2)];
      p.o(0, 1);
      const b = [p.irq.level, p.edges()];
      p.o(0, 2);
      return [a, b, p.edges(), p.i(2), p.i(2)];
    },
    [[true, 2, false, 1], [true, 2], 3, 2, 1],
  ],
  [
    "IIR read of a higher source does not clear THRI",
    (p) => {
      p.o(1, 3);
      p.wire.type(9);
      return [p.i(2), p.i(0), p.i(2), p.i(2)];
    },
    [4, 9, 2, 1],
  ],
  [
    "receive without FIFO takes one at a time",
    (p) => {
      p.o(1, 1);
      p.wire.type(1, 2);
      return [p.i(5) & 1, p.irq.level, p.i(0), p.i(5) & 1, p.i(0), p.i(5) & 1, p.irq.level];
    },
    [1, true, 1, 1, 2, 0, false],
  ],
  [
    "FIFO trigger and timeout",
    (p) => {
      p.o(3, 0x83);
      p.o(0, 1);
      p.o(1, 0);
      p.o(3, 3);
      p.o(2, 0x81);
      p.o(1, 1);
      p.wire.type(1, 2, 3);
      const a = p.irq.level;
      p.ctx.run(300_000);
      const b = p.irq.level;
      p.ctx.run(60_000);
      const c = [p.irq.level, p.i(2)];
      p.i(0);
      const d = p.irq.level;
      p.wire.type(4, 5, 6, 7, 8, 9);
      return [a, b, c, d, p.i(2)];
    },
    [false, false, [true, 0xcc], false, 0xc4],
  ],
  [
    "FIFO holds 16, the rest waits outside",
    (p) => {
      p.o(2, 1);
      p.wire.type(...Array.from({ length: 20 }, (_, k) => k));
      const waiting = p.wire.queue.length;
      const got: number[] = [];
      while (p.i(5) & 1 && got.length < 30) got.push(p.i(0));
      return [waiting, got.length, got[19], p.i(5) & 2];
    },
    [4, 20, 19, 0],
  ],
  [
    "loopback data, overrun and modem lines",
    (p) => {
      p.o(4, 0x10);
      p.i(6);
      p.o(4, 0x1f);
      const m1 = p.i(6);
      p.o(4, 0x10);
      const m2 = p.i(6);
      p.o(0, 0x55);
      p.o(0, 0x66);
      return [m1, m2, p.i(5), p.i(0), p.i(5), p.wire.out];
    },
    [0xfb - 0, 0x0f, 0x63, 0x66, 0x60, []],
  ],
  [
    "break is an error of its character",
    (p) => {
      p.o(2, 1);
      p.o(1, 4);
      p.wire.type(7);
      p.wire.frontend!.event!("break");
      const quiet = p.irq.level;
      p.i(0);
      return [quiet, p.irq.level, p.i(2), p.i(5), p.irq.level, p.i(0), p.i(5)];
    },
    [false, true, 0xc6, 0xf1, false, 0, 0x60],
  ],
  [
    "line status before data before THR before modem",
    (p) => {
      p.o(4, 0x10);
      p.i(6);
      p.o(1, 0x0f);
      p.o(4, 0x12);
      p.o(0, 1);
      p.o(0, 2);
      return [p.i(2), p.i(5) & 2, p.i(2), p.i(0), p.i(2), p.i(2), p.i(6), p.i(2)];
    },
    [6, 2, 4, 2, 2, 0, 0x11, 1],
  ],
  ["scratch", (p) => [p.o(7, 0xa5), p.i(7)].slice(1), [0xa5]],
  [
    "FCR clears",
    (p) => {
      p.o(2, 1);
      p.wire.type(1, 2);
      p.o(2, 3);
      return [p.i(5), p.i(2)];
    },
    [0x60, 0xc1],
  ],
];
for (const [name, run, want] of rows)
  test(`uart: ${name}`, () => {
    assert.deepEqual(run(port()), want);
  });

test("uart: rtsFlow holds input back", () => {
  const p = port({ rtsFlow: true });
  p.wire.type(1);
  assert.equal(p.i(5) & 1, 0);
  p.o(4, 2);
  assert.equal(p.i(5) & 1, 1);
});

test("uart: state survives", () => {
  const a = port();
  a.o(2, 1);
  a.o(1, 3);
  a.wire.type(5, 6);
  const b = port();
  b.uart.restore(a.uart.save());
  assert.deepEqual(b.uart.save(), a.uart.save());
  assert.equal(b.i(0), 5);
});
