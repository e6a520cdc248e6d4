/**
 * npm run bench:kvm: what KVM costs and gives here, against native code and against a C program on the same /dev/kvm.
 *
 *   npm run bench:kvm -- [--json] [--rounds N]
 *
 * Pairs alternate, so that a slow phase of the host meets both; ratios are medians of the pairs' ratios. Figures asked for
 * stand in the last column.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { CalibrationGuest } from "../src/accel/kvm/calibrate.js";
import { cannotOpen, openKvm } from "../src/accel/kvm/host.js";
import { setDoorbell } from "../src/accel/kvm/irqchip.js";
import { KvmRunner, NativeRunner } from "../src/cli/verbs/bench/runners.js";
import { WORKLOADS } from "../src/cli/verbs/bench/workloads.js";
import { nodeHost } from "../src/host/node/index.js";
import { KICK_SIGNAL } from "../src/host/node/syscalls.js";
import { serveMmio, servePort } from "../src/machine/vcpu-io.js";
import { AddressSpace } from "../src/memory/address-space.js";
import { GuestRam } from "../src/memory/ram.js";
import { median } from "./statistics.js";

const { values } = parseArgs({
  options: { json: { type: "boolean", default: false }, rounds: { type: "string", default: "7" } },
});
const rounds = Math.max(1, Math.min(100, Number(values.rounds) || 7));
const NO_LIMIT = { insns: 0, ns: 0 };
const BATCH = 2000;
const KICKS = 200;
const DOORBELLS = 5000;

const kvm = await openKvm(nodeHost("bench"));
if (cannotOpen(kvm)) {
  console.error(`bench: ${kvm.line}\nbench: ${kvm.advice}`);
  process.exit(1);
}
const { device } = kvm;
const { sys } = device;
const rows: { what: string; measured: string; asked: string; met: boolean }[] = [];
const row = (what: string, measured: string, asked: string, met: boolean) => rows.push({ what, measured, asked, met });
const now = () => Number(process.hrtime.bigint());

// --- 64-bit user code against the same bytes in this process ---
const native = await NativeRunner.make();
if (native) {
  const runner = new KvmRunner(device);
  for (const [name, count] of [
    ["user code: counting loop", 200_000_000],
    ["user code: 1 MiB of memory", 1000],
  ] as const) {
    const w = WORKLOADS.find((x) => x.name === name)!;
    // Cold memory is the shadow's cost, not the code's.
    runner.run(w, 10);
    native.run(w, 10);
    const ratios = Array.from({ length: rounds }, () => native.run(w, count)! / runner.run(w, count)!);
    const m = median(ratios);
    row(name, `${m.toFixed(3)} of native`, ">= 0.95", m >= 0.95);
  }
  runner.dispose();
}

// --- exits against C ---
const folder = mkdtempSync(path.join(tmpdir(), "tandem-bench-"));
try {
  const program = path.join(folder, "kvm-exits");
  execFileSync("gcc", ["-O2", fileURLToPath(new URL("kvm-exits.c", import.meta.url)), "-o", program]);
  const ours = new CalibrationGuest(device);
  const ram = new GuestRam(0, 0x10000);
  const space = new AddressSpace("I/O", 2 ** 40, ram);
  let sum = 0;
  space.mapIo(0x11, 1, {
    name: "port",
    read: () => 0,
    write: (_o, _s, v) => {
      sum += v;
    },
  });
  space.mapIo(0x408000, 0x1000, {
    name: "mmio",
    read: () => 0,
    write: (_o, _s, v) => {
      sum += v;
    },
  });
  const cost = (code: readonly number[]): number => {
    ours.begin(code, "real");
    if (code[0] !== 0xe6) {
      const s = ours.vcpu.getState();
      // Above RAM, as the C program's is above its own.
      s.segments.ds = { selector: 0, base: 0x400000n, limit: 0xffff, flags: 0x9300 };
      ours.vcpu.setState(s);
    }
    let best = Number.POSITIVE_INFINITY;
    for (let b = 0; b < 10; b++) {
      const start = now();
      for (let i = 0; i < BATCH; i++) {
        const e = ours.vcpu.run(NO_LIMIT);
        if (e.kind === "io") servePort(space, e);
        else if (e.kind === "mmio") serveMmio(space, e);
        else throw new Error(e.kind);
      }
      best = Math.min(best, (now() - start) / BATCH);
    }
    return best;
  };
  const pairs = Array.from({ length: rounds }, () => {
    const c = Object.fromEntries(
      execFileSync(program, ["10", String(BATCH)], { encoding: "utf8" })
        .trim()
        .split("\n")
        .map((l) => l.split(" ")),
    );
    // out 11h, al; jmp. mov [8010h], al; jmp.
    return { c, port: cost([0xe6, 0x11, 0xeb, 0xfc]), mmio: cost([0xa2, 0x10, 0x80, 0xeb, 0xfb]) };
  });
  for (const kind of ["port", "mmio"] as const) {
    const m = median(pairs.map((p) => p[kind] / Number(p.c[kind])));
    const us = (ns: number) => (ns / 1000).toFixed(2);
    row(
      `${kind} exit, device included`,
      `${m.toFixed(2)} of C (${us(median(pairs.map((p) => p[kind])))} us, C ${us(median(pairs.map((p) => Number(p.c[kind]))))} us)`,
      "<= 1.3",
      m <= 1.3,
    );
  }

  // --- doorbells ---
  const fd = sys.eventfd();
  setDoorbell(ours.vm, fd, { space: "port", address: 0x50, size: 2 });
  // l: out 50h, ax; loop l; out 10h, al.
  ours.begin([0xe7, 0x50, 0xe2, 0xfc, 0xe6, 0x10], "real");
  const s = ours.vcpu.getState();
  s.gpr.rcx = BigInt(DOORBELLS);
  ours.vcpu.setState(s);
  const runs = ours.vcpu.runs;
  const start = now();
  const e = ours.vcpu.run(NO_LIMIT);
  const each = (now() - start) / DOORBELLS;
  const rung = sys.eventfdTake(fd);
  const clean = e.kind === "io" && e.port === 0x10 && rung === DOORBELLS && ours.vcpu.runs === runs + 1;
  row("ioeventfd doorbell", `${each.toFixed(0)} ns, ${rung} of ${DOORBELLS} without an exit`, "no exit", clean);
  sys.close(fd);

  // --- kicks: another thread interrupts this one's KVM_RUN ---
  for (const [name, code, mode] of [
    ["real mode", [0xeb, 0xfe], "real"],
    ["64-bit user code", [0xeb, 0xfe], "user"],
  ] as const) {
    ours.begin(code, mode);
    const latencies = await kicks(ours);
    row(
      `kick of a spinning guest, ${name}`,
      `median ${(median(latencies) / 1000).toFixed(0)} us`,
      "< 100 us",
      median(latencies) < 100_000,
    );
  }
  ours.dispose();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
device.close();

/** Latencies from the kicker's call to the return of KVM_RUN. */
async function kicks(guest: CalibrationGuest): Promise<number[]> {
  const shared = new SharedArrayBuffer(64);
  const flags = new Int32Array(shared, 0, 4);
  const sent = new BigInt64Array(shared, 16, 1);
  const source = `
    const { workerData } = require("node:worker_threads");
    const koffi = require(workerData.koffi);
    const tgkill = koffi.load("libc.so.6").func("int tgkill(int, int, int)");
    const flags = new Int32Array(workerData.shared, 0, 4), sent = new BigInt64Array(workerData.shared, 16, 1);
    for (let n = 0; n < ${KICKS}; n++) {
      while (Atomics.load(flags, 0) !== n + 1) Atomics.wait(flags, 0, Atomics.load(flags, 0), 5);
      const until = process.hrtime.bigint() + 2000000n;
      while (process.hrtime.bigint() < until);
      Atomics.store(sent, 0, process.hrtime.bigint());
      tgkill(workerData.pid, workerData.tid, ${KICK_SIGNAL});
    }`;
  const koffiPath = fileURLToPath(import.meta.resolve("koffi")).replace(/index\.js$/, "index.cjs");
  const worker = new Worker(source, { eval: true, workerData: { shared, koffi: koffiPath, pid: process.pid, tid: sys.tid() } });
  await new Promise((resolve) => worker.once("online", resolve));
  // A kick that comes before KVM_RUN is entered is caught by the alarm, and not counted.
  const alarm = sys.alarm();
  const out: number[] = [];
  for (let n = 0; n < KICKS; n++) {
    Atomics.store(flags, 0, n + 1);
    Atomics.notify(flags, 0);
    alarm.arm(50_000_000, 50_000_000);
    guest.vcpu.run(NO_LIMIT);
    const at = process.hrtime.bigint();
    alarm.disarm();
    const kicked = Atomics.load(sent, 0);
    if (kicked > 0n && at - kicked < 40_000_000n) out.push(Number(at - kicked));
    Atomics.store(sent, 0, 0n);
  }
  alarm.dispose();
  await worker.terminate();
  return out;
}

if (values.json) console.log(JSON.stringify(rows, null, 2));
else
  for (const r of rows)
    console.log(`${r.what.padEnd(44)}${r.measured.padEnd(48)}${r.asked.padEnd(10)}${r.met ? "met" : "NOT met"}`);
