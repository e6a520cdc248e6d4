import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { debianTest } from "../../testkit/debian.js";
import { VmError } from "../base/errors.js";
import { nodeHost } from "../host/node/index.js";
import { parseOptionTree, readNodeOptions } from "./blockdev-options.js";
import { attach } from "./drive.js";
import { parseFilename, resolveBacking } from "./filename.js";
import { BlockGraph } from "./graph.js";
import { checkedByQemu, imageFolder, QEMU_IMG, qemuImg } from "./test-images.js";

const at = imageFolder();
const pairs = (text: string) => text.split(",").map((p) => ({ name: p.split("=")[0]!, value: p.slice(p.indexOf("=") + 1) }));
const options = (text: string) => readNodeOptions(parseOptionTree(text, "-blockdev", pairs), "-blockdev");

for (const [text, driver, own, children] of [
  ["driver=file,filename=a,node-name=n", "file", { filename: "a" }, {}],
  ['{"driver":"raw","file":"x","offset":512}', "raw", { offset: 512 }, { file: "x" }],
  ["driver=qcow2,file.driver=file,file.filename=a,backing=", "qcow2", {}, { file: "file", backing: null }],
  ['{"driver":"qcow2","file":{"driver":"null-co","size":4096},"backing":null}', "qcow2", {}, { file: "null-co", backing: null }],
  [
    "driver=nbd,server.type=inet,server.host=h,server.port=1",
    "nbd",
    { "server.type": "inet", "server.host": "h", "server.port": "1" },
    {},
  ],
  ["driver=raw,file=x,size=1M", "raw", { size: 2 ** 20 }, { file: "x" }],
] as const)
  test(`-blockdev ${text}`, () => {
    const o = options(text);
    assert.equal(o.driver, driver);
    assert.deepEqual(Object.fromEntries(o.own), own);
    assert.deepEqual(
      Object.fromEntries([...o.children].map(([k, v]) => [k, typeof v === "object" && v !== null ? v.driver : v])),
      children,
    );
  });

for (const [text, message] of [
  ["node-name=x", /Parameter 'driver' is missing/],
  ["driver=vmdk", /Parameter 'driver' does not accept value 'vmdk'/],
  ["driver=__proto__", /does not accept value '__proto__'/],
  ["driver=file,filename=a,colour=red", /Invalid parameter 'colour'/],
  ["driver=raw,file.driver=file,file.colour=red", /Invalid parameter 'file.colour'/],
  ["driver=file,filename=a,node-name=1x", /Invalid node-name: '1x'/],
  ["driver=file,filename=a,read-only=maybe", /'read-only', expected: boolean/],
  ['{"driver":"file","filename":"a","read-only":"on1"}', /'read-only', expected: boolean/],
  ['{"driver":"file","filename":7}', /'filename', expected: string/],
  ["driver=raw,file=x,offset=-1", /'offset', expected: integer/],
  ["driver=raw,file.driver=file,file=x", /used inconsistently/],
  ["driver=qcow2,file=x,data-file=y", /data-file=y is not supported/],
  ["driver=null-co,latency-ns=5", /latency-ns=5 is not supported/],
  ["driver=nbd,server.type=vsock,server.cid=1", /server.type=vsock is not supported/],
  ['{"driver":"file"', /JSON parse error/],
  [`{"driver":${"[".repeat(100000)}`, /nested deeper than 64/],
  ["[1]", /Parameter 'driver' is missing/],
] as const)
  test(`-blockdev ${text.slice(0, 60)} is refused`, () => assert.throws(() => options(text), message));

for (const [name, want] of [
  ["a/b:c", { driver: "file", filename: "a/b:c" }],
  ["file:a", { driver: "file", filename: "a" }],
  ["nbd:h:1:exportname=e", { driver: "nbd", server: { type: "inet", host: "h", port: "1" }, export: "e" }],
  ["nbd://h/e", { driver: "nbd", server: { type: "inet", host: "h", port: "10809" }, export: "e" }],
  ["nbd://[::1]:2/", { driver: "nbd", server: { type: "inet", host: "::1", port: "2" } }],
  ["nbd+unix:///e?socket=/s%20x", { driver: "nbd", server: { type: "unix", path: "/s x" }, export: "e" }],
  ["nbd:unix:/s", { driver: "nbd", server: { type: "unix", path: "/s" } }],
  ["https://h/i", { driver: "https", url: "https://h/i" }],
  ["null-co://?size=1M", { driver: "null-co", size: 2 ** 20 }],
] as const)
  test(`file name ${name}`, () => assert.deepEqual(parseFilename(name), want));

for (const [overlay, backing, want] of [
  ["/a/o", "b", "/a/b"],
  ["o", "b", "b"],
  ["/a/o", "/b", "/b"],
  ["/a/o", "nbd://h", "nbd://h"],
  ["http://h/x/o", "b", "http://h/x/b"],
] as const)
  test(`backing ${backing} of ${overlay}`, () => assert.equal(resolveBacking(overlay, backing), want));

const bytes = (n: number, v: number) => new Uint8Array(n).fill(v);

debianTest("nodes: added, named by others, reopened, deleted, in use", [QEMU_IMG], async () => {
  const file = at("n.qcow2");
  qemuImg("create", "-q", "-f", "qcow2", file, "1M");
  const g = new BlockGraph(nodeHost());
  await g.add(options(`driver=file,filename=${file},node-name=st,auto-read-only=on`));
  assert.equal(g.find("st")!.readOnly, true);
  await assert.rejects(g.add(options(`driver=file,filename=${file},node-name=st`)), /Duplicate nodes with node-name='st'/);
  await g.add(options("driver=qcow2,file=st,node-name=f,backing="));
  assert.equal(g.find("st")!.readOnly, false);
  await assert.rejects(g.add(options("driver=raw,file=st,node-name=g")), /Node 'st' is busy: node is used as 'file' of 'f'/);
  await assert.rejects(g.del("st"), /Node 'st' is busy/);
  await assert.rejects(g.del("nope"), /Failed to find node with node-name='nope'/);
  const disk = attach(g, g.find("f")!, { id: "d", readOnly: false, cache: "writeback" });
  await disk.write(0, bytes(512, 7));
  await assert.rejects(g.del("f"), /Node 'f' is busy: node is used by device 'd'/);
  // Read-only and back, the device unaware.
  await g.reopen(options("driver=qcow2,file=st,node-name=f,backing=,read-only=on"));
  await assert.rejects(disk.write(0, bytes(512, 8)), /read-only/);
  await assert.rejects(g.reopen(options("driver=qcow2,file=nope,node-name=f")), /nope/);
  await g.reopen(options("driver=qcow2,file=st,node-name=f,backing="));
  await disk.write(512, bytes(512, 8));
  const out = new Uint8Array(1024);
  await disk.read(0, out);
  assert.deepEqual([out[0], out[512]], [7, 8]);
  // An overlay goes in between (blockdev-snapshot).
  const overlay = at("ov.qcow2");
  qemuImg("create", "-q", "-f", "qcow2", overlay, "1M");
  await g.add(options(`driver=qcow2,node-name=o,file.driver=file,file.filename=${overlay},backing=`));
  await g.insertOverlay(g.find("f")!, g.find("o")!);
  await disk.write(512, bytes(512, 9));
  await disk.read(0, out);
  assert.deepEqual([out[0], out[512]], [7, 9]);
  await disk.close();
  await assert.rejects(g.del("f"), /node is used as 'backing' of 'o'/);
  await g.del("o");
  await g.del("f");
  await g.del("st");
  assert.deepEqual(g.all(), []);
  checkedByQemu(file);
  checkedByQemu(overlay);
});

debianTest("locks are QEMU's, both ways", [QEMU_IMG], async (t) => {
  const { fileCalls } = await import("../host/node/file-calls.js");
  if (!fileCalls) return t.skip("koffi is not installed");
  const file = at("l.qcow2");
  qemuImg("create", "-q", "-f", "qcow2", file, "1M");
  const open = async (readOnly: boolean) => {
    const g = new BlockGraph(nodeHost());
    await g.openFile(file, { readOnly });
    return g;
  };
  const qemu = (...args: string[]) => spawnSync("qemu-io", [...args, "-c", "read 0 512", file], { encoding: "utf8" }).stderr;
  const writer = await open(false);
  assert.match(qemu(), /Failed to get "write" lock|Failed to get shared "write" lock/);
  assert.match(qemu("-r"), /Failed to get shared "write" lock/);
  await assert.rejects(open(false), /Failed to get .*lock; is another process using the image/);
  await assert.rejects(open(true), /lock/);
  await writer.close();
  const reader = await open(true);
  assert.equal(qemu("-r"), "");
  assert.match(qemu(), /Failed to get "write" lock/);
  const second = await open(true);
  await assert.rejects(open(false), /lock/);
  await reader.close();
  await second.close();
  // QEMU has it.
  const child = spawn("qemu-io", ["-f", "qcow2", file], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.write("write 0 512\n");
  await new Promise((resolve) => child.stdout.once("data", resolve));
  await assert.rejects(open(true), (e: unknown) => e instanceof VmError && e.code === "block/locked");
  child.stdin.end("quit\n");
  await new Promise((resolve) => child.once("close", resolve));
  await (await open(false)).close();
});

debianTest("formats that nobody named", [QEMU_IMG], async () => {
  const [raw, qcow2] = [at("p.raw"), at("p.qcow2")];
  writeFileSync(raw, bytes(1 << 20, 1));
  qemuImg("create", "-q", "-f", "qcow2", qcow2, "1M");
  const warnings: string[] = [];
  const g = new BlockGraph(nodeHost());
  const a = await g.openFile(raw, { readOnly: false, warn: (w) => warnings.push(w) });
  const b = await g.openFile(qcow2, { readOnly: false, warn: (w) => warnings.push(w) });
  assert.deepEqual([a.driver, b.driver, warnings.length], ["raw", "qcow2", 1]);
  assert.match(warnings[0]!, /probing guessed raw/);
  const magic = Uint8Array.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]);
  const sector = bytes(512, 0);
  sector.set(magic);
  await assert.rejects(a.write(0, sector), /would make the image look like qcow2/);
  // In two pieces it is no better.
  await a.write(4, magic.subarray(4)).catch(() => {});
  await assert.rejects(a.write(0, magic.subarray(0, 4)), /look like qcow2/);
  await a.write(512, sector);
  await g.close();
  const h = new BlockGraph(nodeHost());
  const c = await h.openFile(raw, { readOnly: false, format: "raw" });
  await c.write(0, sector);
  await h.close();
});
