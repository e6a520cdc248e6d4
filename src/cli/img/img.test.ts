import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { debianTest } from "../../../testkit/debian.js";
import { checkedByQemu, comparedByQemu, imageFolder, openFile, QEMU_IMG, qemuImg, qemuIo } from "../../block/test-images.js";
import { nodeHost } from "../../host/node/index.js";
import { img } from "./main.js";
import { humanSize } from "./texts.js";

const at = imageFolder();

interface Outcome {
  status: number;
  out: string;
  err: string;
}

async function ours(...args: string[]): Promise<Outcome> {
  const o = { status: 0, out: "", err: "" };
  o.status = await img(
    "qemu-img",
    args,
    nodeHost("qemu-img"),
    "0",
    (t) => {
      o.out += t;
    },
    (t) => {
      o.err += t;
    },
  );
  return o;
}

function theirs(...args: string[]): Outcome {
  const r = spawnSync("qemu-img", args, { encoding: "utf8" });
  return { status: r.status ?? -1, out: r.stdout, err: r.stderr };
}

async function same(...args: string[]): Promise<void> {
  const a = theirs(...args);
  const b = await ours(...args);
  if (args.includes("--output=json") && a.status === 0 && args[0] !== "map")
    assert.deepEqual([b.status, JSON.parse(b.out), b.err], [a.status, JSON.parse(a.out), a.err], args.join(" "));
  else assert.deepEqual(b, a, args.join(" "));
}

/** Images of many kinds, by name. */
function gallery(): string[] {
  const files: string[] = [];
  const make = (name: string, ...args: string[]) => {
    const file = at(name);
    rmSync(file, { force: true });
    qemuImg("create", "-q", ...args.map((a) => (a === "@" ? file : a)));
    files.push(file);
    return file;
  };
  const base = make("base.qcow2", "-f", "qcow2", "@", "8M");
  qemuIo(base, ["write -P 1 0 1M", "write -z 2M 64k", "write -P 2 3M 100k"]);
  const top = make("top.qcow2", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "@", "12M");
  qemuIo(top, ["write -P 3 512k 64k", "write -z 1M 128k", "discard 3M 64k"]);
  make("v2.qcow2", "-f", "qcow2", "-o", "compat=0.10", "@", "5G");
  const snap = make("snap.qcow2", "-f", "qcow2", "-o", "lazy_refcounts=on,cluster_size=4k,refcount_bits=32", "@", "1T");
  qemuIo(snap, ["write -P 3 512k 64k"]);
  qemuImg("snapshot", "-c", "a snapshot", snap);
  qemuIo(snap, ["write -P 4 512k 4k"]);
  qemuImg("snapshot", "-c", "b", snap);
  qemuImg("bitmap", "--add", snap, "bits");
  const ext = make("ext.qcow2", "-f", "qcow2", "-o", "extended_l2=on", "@", "1000000");
  qemuIo(ext, ["write -P 4 512k 4k", "write -P 5 4k 6k"]);
  const raw = make("plain.raw", "-f", "raw", "@", "3M");
  qemuIo(raw, ["write -P 7 1M 64k"], "raw");
  const packed = at("packed.qcow2");
  rmSync(packed, { force: true });
  qemuImg("convert", "-c", "-O", "qcow2", base, packed);
  files.push(packed);
  return files;
}

debianTest("info, map, check and snapshot -l say what qemu-img says", [QEMU_IMG], async () => {
  for (const file of gallery()) {
    await same("info", file);
    await same("info", "--output=json", file);
    await same("info", "--backing-chain", file);
    await same("map", "--output=json", file);
    if (!file.includes("packed")) await same("map", file);
    await same("check", file);
    await same("check", "--output=json", file);
    await same("snapshot", "-l", file);
    await same("compare", file, file);
    await same("compare", file, at("plain.raw"));
    await same("map", "--output=json", "--start-offset=256k", "--max-length=512k", file);
  }
});

/** Errors, word by word. */
for (const args of [
  [],
  ["foo"],
  ["info", "@nope"],
  ["check", "@nope"],
  ["check", "-r", "some", "@base.qcow2"],
  ["create", "-f", "qcow2", "@new"],
  ["create", "-f", "foo", "@new", "1M"],
  ["create", "-f", "qcow2", "-o", "foo=1", "@new", "1M"],
  ["create", "-f", "qcow2", "-o", "cluster_size=100", "@new", "1M"],
  ["create", "-f", "qcow2", "-b", "nope", "-F", "raw", "@new"],
  ["create", "-f", "qcow2", "-b", "base.qcow2", "@new"],
  ["create", "-f", "raw", "-b", "base.qcow2", "-F", "qcow2", "@new"],
  ["create", "-f", "qcow2", "@new", "12x"],
  ["resize", "@base.qcow2", "1M"],
  ["resize", "@base.qcow2", "-1M"],
  ["snapshot", "-d", "zz", "@base.qcow2"],
  ["snapshot", "-a", "zz", "@base.qcow2"],
  ["commit", "@base.qcow2"],
  ["compare", "@base.qcow2", "@nope"],
  ["compare", "-s", "@base.qcow2", "@top.qcow2"],
  ["rebase", "-b", "x", "@top.qcow2"],
  ["check", "@plain.raw"],
  ["convert", "-c", "-O", "raw", "@base.qcow2", "@new"],
])
  debianTest(`errors of qemu-img: ${args.join(" ")}`, [QEMU_IMG], async () => {
    if (args.length > 0 && !made) {
      gallery();
      made = true;
    }
    const real = args.map((a) => (a.startsWith("@") ? at(a.slice(1)) : a));
    const a = theirs(...real);
    rmSync(at("new"), { force: true });
    const b = await ours(...real);
    assert.equal(b.status, a.status);
    // Why a file cannot be opened is said once here, by QEMU twice.
    const once = (s: string) => s.replace(/(Could not open '[^']*': )\1/, "$1");
    if (!DIFFERENT.includes(args.join(" "))) assert.equal(once(b.err).trim(), once(a.err).trim());
    assert.ok(b.err.startsWith("qemu-img: ") || b.out !== "");
  });
let made = false;
/** Said in other words here. */
const DIFFERENT = [
  "check -r some @base.qcow2",
  "create -f qcow2 -o cluster_size=100 @new 1M",
  "rebase -b x @top.qcow2",
  "create -f raw -b base.qcow2 -F qcow2 @new",
  "convert -c -O raw @base.qcow2 @new",
];

debianTest("create: the line and the image are qemu-img's", [QEMU_IMG], async () => {
  gallery();
  const file = at("new.qcow2");
  for (const args of [
    ["-f", "qcow2", file, "10M"],
    ["-f", "qcow2", "-o", "compat=0.10", file, "10M"],
    ["-f", "qcow2", "-o", "cluster_size=512,refcount_bits=1", file, "1G"],
    ["-f", "qcow2", "-o", "cluster_size=2M,extended_l2=on,lazy_refcounts=on", file, "100G"],
    ["-f", "qcow2", "-o", "preallocation=metadata", file, "100M"],
    ["-f", "qcow2", "-o", "preallocation=full", file, "10M"],
    ["-f", "qcow2", "-o", "preallocation=falloc,cluster_size=4k", file, "10M"],
    ["-f", "qcow2", "-o", "compression_type=zstd", file, "1000001"],
    ["-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", file],
    ["-f", "qcow2", "-b", "plain.raw", "-F", "raw", "-o", "cluster_size=8k", file, "20M"],
    ["-f", "raw", file, "1M"],
    ["-f", "raw", "-o", "preallocation=full", file, "1M"],
    ["-q", "-f", "raw", file, "0"],
  ]) {
    rmSync(file, { force: true });
    const a = theirs("create", ...args);
    const infoA = JSON.parse(qemuImg("info", "--output=json", file));
    rmSync(file, { force: true });
    const b = await ours("create", ...args);
    assert.deepEqual(b, a, args.join(" "));
    const infoB = JSON.parse(qemuImg("info", "--output=json", file));
    delete infoA["actual-size"];
    delete infoB["actual-size"];
    assert.deepEqual(infoB, infoA, args.join(" "));
    if (infoB.format === "qcow2") checkedByQemu(file);
    if (args.includes("10M") && !args.join().includes("prealloc")) qemuIo(file, ["write -P 1 0 3M", "read -P 1 1M 1M"]);
    if (infoB.format === "qcow2") checkedByQemu(file);
  }
  // Nothing that somebody has is emptied.
  const held = await openFile(file);
  const again = await ours("create", "-f", "qcow2", file, "1M");
  await held.close();
  assert.match(again.err, /lock/);
});

debianTest("convert: formats, layouts, compression, snapshots, backing files, several sources", [QEMU_IMG], async () => {
  const files = gallery();
  const out = at("out");
  for (const file of files) {
    const flat = at("flat.raw");
    if (JSON.parse(qemuImg("info", "--output=json", file))["virtual-size"] > 2 ** 32) continue;
    qemuImg("convert", "-O", "raw", file, flat);
    for (const [format, ...more] of [
      ["raw"],
      ["qcow2"],
      ["qcow2", "-c"],
      ["qcow2", "-c", "-W", "-m", "4", "-o", "cluster_size=4k"],
      ["qcow2", "-S", "0"],
      ["qcow2", "-o", "extended_l2=on,cluster_size=32k"],
      ["qcow2", "-o", "compat=0.10,cluster_size=512"],
      ["qcow2", "-o", "preallocation=metadata"],
    ] as string[][]) {
      rmSync(out, { force: true });
      const r = await ours("convert", "-O", format!, ...more, file, out);
      assert.deepEqual([r.status, r.err], [0, ""], `${file} ${more.join(" ")}`);
      comparedByQemu(flat, "raw", out, format!);
      if (format === "qcow2") checkedByQemu(out);
    }
    writeFileSync(out, new Uint8Array(16 << 20).fill(0xff));
    assert.equal((await ours("convert", "-n", "-O", "raw", file, out)).status, 0);
    const want = readFileSync(flat);
    assert.ok(Buffer.compare(readFileSync(out).subarray(0, want.length), want) === 0, `${file} -n`);
  }
  rmSync(out, { force: true });
  assert.equal((await ours("convert", "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", at("top.qcow2"), out)).status, 0);
  checkedByQemu(out);
  comparedByQemu(at("top.qcow2"), "qcow2", out, "qcow2");
  assert.ok(readFileSync(out).length < 1 << 20);
  const progress = await ours("convert", "-p", "-O", "raw", at("plain.raw"), at("base.qcow2"), at("two.raw"));
  assert.match(progress.out, /^ {4}\(0\.00\/100%\)\r[\s\S]* {4}\(100\.00\/100%\)\r\n$/);
  qemuImg("convert", "-O", "raw", at("plain.raw"), at("base.qcow2"), at("two2.raw"));
  comparedByQemu(at("two.raw"), "raw", at("two2.raw"), "raw");
});

debianTest("snapshot, resize, rebase, commit: QEMU finds what it would have made", [QEMU_IMG], async () => {
  gallery();
  const [top, base, flat] = [at("top.qcow2"), at("base.qcow2"), at("flat.raw")];
  qemuImg("convert", "-O", "raw", top, flat);
  const ok = async (...args: string[]) => {
    const r = await ours(...args);
    assert.deepEqual([r.status, r.err], [0, ""], args.join(" "));
    return r.out;
  };
  await ok("snapshot", "-c", "one", top);
  qemuIo(top, ["write -P 9 0 1M"]);
  await ok("snapshot", "-c", "two", top);
  checkedByQemu(top);
  await ok("snapshot", "-a", "one", top);
  comparedByQemu(flat, "raw", top, "qcow2");
  await ok("snapshot", "-d", "one", top);
  checkedByQemu(top);
  await ok("snapshot", "-d", "two", top);
  checkedByQemu(top);
  comparedByQemu(flat, "raw", top, "qcow2");
  // Another backing file with the same content seen through the overlay.
  copyFileSync(base, at("other.qcow2"));
  qemuIo(at("other.qcow2"), ["write -P 200 3M 1M", "write -P 201 7M 64k"]);
  await ok("rebase", "-b", "other.qcow2", "-F", "qcow2", top);
  comparedByQemu(flat, "raw", top, "qcow2");
  checkedByQemu(top);
  assert.equal(JSON.parse(qemuImg("info", "--output=json", top))["backing-filename"], "other.qcow2");
  assert.equal(await ok("commit", top), "Image committed.\n");
  checkedByQemu(at("other.qcow2"));
  comparedByQemu(flat, "raw", at("other.qcow2"), "qcow2");
  comparedByQemu(flat, "raw", top, "qcow2");
  await ok("rebase", "-b", "", top);
  comparedByQemu(flat, "raw", top, "qcow2");
  assert.equal(await ok("resize", top, "+20M"), "Image resized.\n");
  await ok("resize", "--shrink", top, "-20M");
  comparedByQemu(flat, "raw", top, "qcow2");
  await ok("resize", "-f", "raw", at("plain.raw"), "5M");
  assert.equal(readFileSync(at("plain.raw")).length, 5 << 20);
  checkedByQemu(top);
  await ok("rebase", "-u", "-b", "/somewhere/else", "-F", "raw", top);
  assert.equal(JSON.parse(qemuImg("info", "--output=json", top))["backing-filename"], "/somewhere/else");
});

debianTest("check -r all repairs, and says what it did", [QEMU_IMG], async () => {
  const [file, copy] = [at("hurt.qcow2"), at("hurt2.qcow2")];
  rmSync(file, { force: true });
  qemuImg("create", "-q", "-f", "qcow2", file, "1M");
  qemuIo(file, ["write 0 512k"]);
  const bytes = readFileSync(file);
  const block = Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(48))));
  bytes.writeUInt16BE(3, block + 2 * 7);
  bytes.writeUInt16BE(1, block + 2 * 50);
  writeFileSync(file, bytes);
  copyFileSync(file, copy);
  const [a, b] = [theirs("check", "-r", "leaks", file), await ours("check", "-r", "leaks", copy)];
  assert.deepEqual([b.status, b.out.replaceAll("hurt2", "hurt"), b.err], [a.status, a.out, a.err]);
  checkedByQemu(copy);
});

for (const [bytes, want] of [
  [0, "0 B"],
  [512, "512 B"],
  [1023, "1020 B"],
  [1000, "0.977 KiB"],
  [65536, "64 KiB"],
  [6.5 * 2 ** 20, "6.5 MiB"],
  [1000 * 2 ** 20, "0.977 GiB"],
  [999 * 2 ** 20, "999 MiB"],
  [2 ** 40, "1 TiB"],
] as const)
  test(`${bytes} bytes are ${want}`, () => {
    if (bytes === 1023) assert.equal(humanSize(bytes), "0.999 KiB");
    else assert.equal(humanSize(bytes), want);
  });
