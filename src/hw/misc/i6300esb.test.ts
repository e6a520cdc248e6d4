import assert from "node:assert/strict";
import { test } from "node:test";
import { PciReg } from "../pci/device.js";
import { testMachine } from "../pci/test-machine.js";
import { I6300esb } from "./i6300esb.js";

const BAR = 0x80000000;
/** 2^15 clocks of 33 MHz. */
const SLOW_NS = (2 ** 15 * 1e9) / 33e6;

function setup() {
  const m = testMachine();
  const dog = new I6300esb(m);
  dog.attach({ bus: 0, devfn: 0x20, setIrq() {} });
  dog.configWrite(PciReg.bar0, 4, BAR);
  dog.configWrite(PciReg.command, 2, 2);
  let barks = 0;
  dog.onExpired = () => barks++;
  const unlocked = (offset: number, value: number) => {
    m.memory.write(BAR + 12, 2, 0x80);
    m.memory.write(BAR + 12, 2, 0x86);
    m.memory.write(BAR + offset, offset === 12 ? 2 : 4, value);
  };
  return { m, dog, unlocked, barks: () => barks };
}

test("two stages, reload, the flag that stays", () => {
  const { m, dog, unlocked, barks } = setup();
  unlocked(0, 99);
  unlocked(4, 99);
  dog.configWrite(0x68, 1, 2);
  m.advance(150 * SLOW_NS);
  unlocked(12, 0x100);
  m.advance(199 * SLOW_NS);
  assert.equal(barks(), 0, "reloaded");
  m.advance(2 * SLOW_NS);
  m.advance(SLOW_NS);
  assert.equal(barks(), 1);
  assert.equal(m.memory.read(BAR + 12, 2), 0x200);
  dog.reset();
  dog.configWrite(PciReg.bar0, 4, BAR);
  dog.configWrite(PciReg.command, 2, 2);
  assert.equal(m.memory.read(BAR + 12, 2), 0x200);
  unlocked(12, 0x200);
  assert.equal(m.memory.read(BAR + 12, 2), 0);
});

test("without the words nothing is written; locked it stays as it is", () => {
  const { m, dog, unlocked, barks } = setup();
  unlocked(0, 9);
  unlocked(4, 9);
  m.memory.write(BAR, 4, 0xfffff);
  m.memory.write(BAR + 12, 2, 0x86);
  m.memory.write(BAR + 12, 2, 0x100);
  dog.configWrite(0x68, 1, 3);
  dog.configWrite(0x68, 1, 0);
  assert.equal(dog.configRead(0x68, 1), 3);
  m.advance(11 * SLOW_NS);
  m.advance(11 * SLOW_NS);
  assert.equal(barks(), 1);
});

test("the fast clock; no reboot", () => {
  const { m, dog, unlocked, barks } = setup();
  dog.configWrite(0x60, 2, 0x24);
  unlocked(0, 9);
  unlocked(4, 9);
  dog.configWrite(0x68, 1, 2);
  m.advance(11 * (SLOW_NS / 1024));
  m.advance(11 * (SLOW_NS / 1024));
  assert.equal(barks(), 0);
  assert.equal(m.memory.read(BAR + 12, 2), 0x200);
});

test("state goes round with the time that is left", () => {
  const a = setup();
  a.unlocked(0, 9);
  a.unlocked(4, 9);
  a.dog.configWrite(0x68, 1, 2);
  a.m.advance(5 * SLOW_NS);
  const b = setup();
  b.dog.restore(a.dog.save());
  b.m.advance(6 * SLOW_NS);
  b.m.advance(11 * SLOW_NS);
  assert.equal(b.barks(), 1);
});
