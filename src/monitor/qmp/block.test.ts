import assert from "node:assert/strict";
import { debianTest } from "../../../testkit/debian.js";
import { checkedByQemu, imageFolder, QEMU_IMG, qemuImg } from "../../block/test-images.js";
import { nodeHost } from "../../host/node/index.js";
import { defaultConfig } from "../../machine/config.js";
import { FakeBoard } from "../../machine/test-board.js";
import { Machine } from "../../machine/vm.js";
import { BLOCK_COMMANDS } from "./commands/block.js";

const at = imageFolder();

debianTest("blockdev-add, query, snapshot, resize, reopen, del on a machine", [QEMU_IMG], async () => {
  const [base, overlay] = [at("b.qcow2"), at("o.qcow2")];
  qemuImg("create", "-q", "-f", "qcow2", base, "1M");
  qemuImg("create", "-q", "-f", "qcow2", overlay, "1M");
  const machine = await Machine.create(defaultConfig(), {
    host: nodeHost(),
    createBoard: async (config, parts) => new FakeBoard(config, parts),
    openMonitor: () => {},
  });
  // biome-ignore lint/suspicious/noExplicitAny: replies are JSON
  const ask = async (name: string, args: unknown = {}): Promise<any> => {
    const command = BLOCK_COMMANDS.find((c) => c.name === name)!;
    return command.run({ target: machine, client: undefined as never, afterReply: () => {} }, args as never);
  };
  await ask("blockdev-add", { driver: "file", filename: base, "node-name": "st", "auto-read-only": true, discard: "unmap" });
  await ask("blockdev-add", { driver: "qcow2", "node-name": "f", file: "st", backing: null, "read-only": false });
  await assert.rejects(
    ask("blockdev-add", { driver: "qcow2", "node-name": "f", file: "st" }),
    /Duplicate nodes with node-name='f'/,
  );
  await assert.rejects(ask("blockdev-add", { driver: "vmdk", "node-name": "x" }), /does not accept value 'vmdk'/);
  await assert.rejects(ask("blockdev-add", { driver: "null-co" }), /'node-name' must be specified/);
  const nodes = await ask("query-named-block-nodes", { flat: true });
  assert.deepEqual(
    nodes.map((n: Record<string, unknown>) => [n["node-name"], n.drv, n.ro]),
    [
      ["st", "file", false],
      ["f", "qcow2", false],
    ],
  );
  assert.equal(nodes[1].image["virtual-size"], 1 << 20);
  assert.equal(nodes[1].image["cluster-size"], 65536);
  const disk = machine.block.node("f");
  await disk.write(0, new Uint8Array(512).fill(1));
  await ask("blockdev-add", { driver: "qcow2", "node-name": "o", file: { driver: "file", filename: overlay }, backing: null });
  await ask("blockdev-snapshot", { node: "f", overlay: "o" });
  const top = (await ask("query-named-block-nodes")).find((n: Record<string, unknown>) => n["node-name"] === "o");
  assert.equal(top.backing_file_depth, 1);
  assert.equal(top.image["backing-image"].filename, base);
  const out = new Uint8Array(512);
  await machine.block.node("o").read(0, out);
  assert.equal(out[0], 1);
  await ask("block_resize", { "node-name": "o", size: 4 << 20 });
  assert.equal(machine.block.node("o").sizeBytes, 4 << 20);
  await assert.rejects(ask("block_resize", { size: 1 }), /Either 'device' or 'node-name'/);
  await assert.rejects(ask("blockdev-del", { "node-name": "f" }), /Node 'f' is busy: node is used as 'backing' of 'o'/);
  await ask("blockdev-del", { "node-name": "o" });
  await ask("blockdev-reopen", {
    options: [{ driver: "qcow2", "node-name": "f", file: "st", backing: null, "read-only": true }],
  });
  await assert.rejects(disk.write(0, out), /read-only/);
  await ask("blockdev-del", { "node-name": "f" });
  await ask("blockdev-del", { "node-name": "st" });
  assert.deepEqual(await ask("query-named-block-nodes"), []);
  await machine.quit();
  checkedByQemu(base);
  checkedByQemu(overlay);
});
