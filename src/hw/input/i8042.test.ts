import assert from "node:assert/strict";
import { test } from "node:test";
import { IrqLine } from "../core/irq.js";
import { Port92 } from "../misc/port92.js";
import { testContext } from "../misc/test-context.js";
import { I8042 } from "./i8042.js";
import { keyCodes, QCODES, type QKeyCode, qcode, qcodeOfSet1, translateSet2 } from "./qcodes.js";

function pc() {
  const ctx = testContext();
  const counts = { irq1: 0, irq12: 0, resets: 0 };
  const irq1 = new IrqLine((l) => {
    if (l) counts.irq1++;
  });
  const irq12 = new IrqLine((l) => {
    if (l) counts.irq12++;
  });
  const a20 = new IrqLine();
  const kbc = new I8042(ctx, irq1, irq12, {
    a20,
    onReset: () => {
      counts.resets++;
    },
  });
  kbc.map(ctx.io);
  const p92 = new Port92({
    a20,
    onReset: () => {
      counts.resets++;
    },
  });
  p92.map(ctx.io);
  kbc.reset();
  p92.reset();
  const cmd = (v: number) => ctx.io.write(0x64, 1, v);
  const data = (v: number) => ctx.io.write(0x60, 1, v);
  const status = () => ctx.io.read(0x64, 1);
  const read = () => ctx.io.read(0x60, 1);
  /** All that comes, as hex. */
  const drain = () => {
    const out: string[] = [];
    for (let k = 0; k < 64; k++) {
      ctx.run(300_000);
      if (!(status() & 1)) break;
      out.push((status() & 0x20 ? "m" : "") + read().toString(16).padStart(2, "0"));
    }
    return out.join(" ");
  };
  const config = (v: number) => {
    cmd(0x60);
    data(v);
  };
  const mouse = (...bytes: number[]) => {
    let last = "";
    for (const b of bytes) {
      cmd(0xd4);
      data(b);
      last = drain();
    }
    return last;
  };
  const key = (k: QKeyCode, down = true) => kbc.keyboard.keyEvent(k, down);
  config(0x47);
  return { ctx, kbc, irq1, irq12, a20, counts, cmd, data, status, read, drain, config, mouse, key };
}
type M = ReturnType<typeof pc>;
const tap = (m: M, k: QKeyCode) => {
  m.key(k);
  m.key(k, false);
};

const rows: [string, (m: M) => unknown, unknown][] = [
  ["idle status", (m) => m.status(), 0x14],
  [
    "self test and interface tests",
    (m) => [0xaa, 0xab, 0xa9, 0xa4, 0xc0].map((c) => [m.cmd(c), m.read()][1]),
    [0x55, 0, 0, 0xf1, 0x80],
  ],
  [
    "config",
    (m) => {
      m.config(0x61);
      m.cmd(0x20);
      return [m.status() & 1, m.read(), m.status() & 1];
    },
    [1, 0x61, 0],
  ],
  ["a key, translated", (m) => [tap(m, "a"), m.drain()][1], "1e 9e"],
  ["extended key", (m) => [tap(m, "up"), m.drain()][1], "e0 48 e0 c8"],
  ["F7 and SysRq need the top of the table", (m) => [tap(m, "f7"), tap(m, "sysrq"), m.drain()][2], "41 c1 54 d4"],
  ["pause", (m) => [tap(m, "pause"), m.drain()][1], "e1 1d 45 e1 9d c5"],
  ["print", (m) => [tap(m, "print"), m.drain()][1], "e0 2a e0 37 e0 b7 e0 aa"],
  [
    "Alt+print, Ctrl+pause",
    (m) => {
      m.key("alt");
      tap(m, "print");
      m.key("alt", false);
      m.key("ctrl");
      tap(m, "pause");
      return m.drain();
    },
    "38 54 d4 b8 1d e0 46 e0 c6",
  ],
  [
    "untranslated set 2",
    (m) => {
      m.config(0x07);
      tap(m, "a");
      tap(m, "up");
      return m.drain();
    },
    "1c f0 1c e0 75 e0 f0 75",
  ],
  [
    "scan code set 1 and 3, query",
    (m) => {
      m.config(0x07);
      m.data(0xf0);
      m.data(1);
      tap(m, "a");
      const one = m.drain();
      m.data(0xf0);
      m.data(3);
      tap(m, "a");
      tap(m, "up");
      const three = m.drain();
      m.data(0xf0);
      m.data(0);
      return [one, three, m.drain()];
    },
    ["fa fa 1e 9e", "fa fa 1c f0 1c 63 f0 63", "fa fa 03"],
  ],
  ["identify is translated too", (m) => [m.data(0xf2), m.drain()][1], "fa ab 41"],
  ["keyboard reset", (m) => [m.data(0xff), m.drain()][1], "fa aa"],
  ["echo, unknown command", (m) => [m.data(0xee), m.data(0x00), m.drain()][2], "ee fe"],
  [
    "LEDs",
    (m) => {
      m.data(0xed);
      m.data(7);
      return [m.drain(), m.kbc.keyboard.leds];
    },
    ["fa fa", 7],
  ],
  [
    "one interrupt a byte",
    (m) => {
      tap(m, "up");
      m.drain();
      return [m.counts.irq1, m.counts.irq12, m.irq1.level];
    },
    [4, 0, false],
  ],
  [
    "no interrupt when off in the config",
    (m) => {
      m.config(0x44);
      m.key("a");
      return [m.counts.irq1, m.status() & 1];
    },
    [0, 1],
  ],
  [
    "reading twice gives the same byte",
    (m) => {
      m.key("a");
      m.key("b");
      return [m.read(), m.read(), m.ctx.run(300_000), m.read()].filter((v) => v !== undefined);
    },
    [0x1e, 0x1e, 0x30],
  ],
  [
    "disabled keyboard keeps its bytes",
    (m) => {
      m.cmd(0xad);
      m.key("a");
      const off = m.status() & 1;
      m.cmd(0xae);
      return [off, m.status() & 1, m.read()];
    },
    [0, 1, 0x1e],
  ],
  [
    "a reply does not overwrite a byte",
    (m) => {
      m.key("a");
      m.cmd(0x20);
      return [m.read(), m.read()];
    },
    [0x1e, 0x47],
  ],
  [
    "scanning off",
    (m) => {
      m.data(0xf5);
      tap(m, "a");
      const a = m.drain();
      m.data(0xf4);
      tap(m, "a");
      return [a, m.drain()];
    },
    ["fa", "fa 1e 9e"],
  ],
  [
    "A20 by D1, DD, DF and port 92h; output port",
    (m) => {
      const out: unknown[] = [m.a20.level];
      m.cmd(0xd1);
      m.data(0xdd);
      out.push(m.a20.level);
      m.ctx.io.write(0x92, 1, 2);
      out.push(m.a20.level);
      m.cmd(0xdd);
      out.push(m.a20.level, m.ctx.io.read(0x92, 1));
      m.cmd(0xd0);
      out.push(m.read() & 3);
      m.cmd(0xdf);
      out.push(m.a20.level);
      return out;
    },
    [true, false, true, false, 0, 1, true],
  ],
  [
    "resets: FE, output port bit 0, port 92h rising bit 0 only",
    (m) => {
      m.cmd(0xfe);
      m.cmd(0xff);
      m.cmd(0xd1);
      m.data(0xfe);
      m.ctx.io.write(0x92, 1, 3);
      m.ctx.io.write(0x92, 1, 3);
      return m.counts.resets;
    },
    3,
  ],
  [
    "D2 and D3 loop back",
    (m) => [m.cmd(0xd2), m.data(0x11), m.drain(), m.cmd(0xd3), m.data(0x22), m.drain()].filter((x) => x),
    ["11", "m22"],
  ],
  ["mouse reset and id", (m) => [m.mouse(0xff), m.mouse(0xf2)], ["mfa maa m00", "mfa m00"]],
  [
    "mouse movement",
    (m) => {
      m.mouse(0xf4);
      m.kbc.mouse.mouseEvent(5, 3, 0, 1);
      const a = m.drain();
      m.kbc.mouse.mouseEvent(-300, 0, 1, 0);
      return [a, m.drain(), m.counts.irq12 >= 9];
    },
    ["m29 m05 mfd", "m18 m01 m00 m18 md3 m00", true],
  ],
  [
    "wheel mouse",
    (m) => {
      m.mouse(0xf3, 200, 0xf3, 100, 0xf3, 80);
      const id = m.mouse(0xf2);
      m.mouse(0xf4);
      m.kbc.mouse.mouseEvent(1, 0, -1, 4);
      return [id, m.drain()];
    },
    ["mfa m03", "m0c m01 m00 mff"],
  ],
  [
    "five buttons",
    (m) => {
      m.mouse(0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf3, 200, 0xf3, 200, 0xf3, 80);
      const id = m.mouse(0xf2);
      m.mouse(0xf4);
      m.kbc.mouse.mouseEvent(0, 0, 1, 16);
      return [id, m.drain()];
    },
    ["mfa m04", "m08 m00 m00 m21"],
  ],
  [
    "mouse status, remote mode, wrap",
    (m) => {
      m.mouse(0xf0, 0xe7, 0xe8, 3);
      m.kbc.mouse.mouseEvent(2, 0, 0, 0);
      const quiet = m.drain();
      const read = m.mouse(0xeb);
      const st = m.mouse(0xe9);
      m.mouse(0xee);
      return [quiet, read, st, m.mouse(0x55), m.mouse(0xec)];
    },
    ["", "mfa m08 m02 m00", "mfa m50 m03 m64", "m55", "mfa"],
  ],
  [
    "a guest that never reads: bounded, distance kept",
    (m) => {
      m.mouse(0xf4);
      for (let k = 0; k < 10000; k++) {
        m.kbc.mouse.mouseEvent(1, 0, 0, 0);
        tap(m, "a");
      }
      return m.kbc.keyboard.save().queue !== undefined && JSON.stringify(m.kbc.save()).length < 5000;
    },
    true,
  ],
];
for (const [name, run, want] of rows)
  test(`i8042: ${name}`, () => {
    assert.deepEqual(run(pc()), want);
  });

test("i8042: state survives", () => {
  const a = pc();
  tap(a, "up");
  a.read();
  const b = pc();
  b.ctx.clock.set(a.ctx.clock.nowNs());
  b.kbc.restore(a.kbc.save());
  assert.equal(b.drain(), a.drain());
});

test("qcodes: set 1 is set 2 translated, names are unique, look-ups work", () => {
  assert.equal(new Set(QCODES).size, QCODES.length);
  for (const name of QCODES) {
    const { set1, set2 } = keyCodes(name);
    if (name === "print" || name === "pause" || name === "sysrq") continue;
    assert.equal(translateSet2(set2 & 0xff), set1 & 0xff, name);
    assert.equal(set1 >> 8, set2 >> 8, name);
    assert.equal(qcodeOfSet1(set1), name);
  }
  assert.equal(qcode("ret"), "ret");
  assert.equal(qcode("altgr"), "alt_r");
  assert.equal(qcode("__proto__"), undefined);
});
