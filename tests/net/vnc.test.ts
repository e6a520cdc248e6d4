/** The VNC server of a real machine: over TCP and WebSocket, through the monitors, with a real viewer where there is one. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import WebSocket from "ws";
import { createMachine, monitorCommand, VmError } from "../../src/index.js";
import { vncResponse } from "../../src/ui/vnc/des.js";

const BARE = ["-display", "none", "-net", "none", "-vnc"];

/** Reads from something that gives chunks. */
class Reader {
  private data = Buffer.alloc(0);
  private wake: () => void = () => {};
  push(d: Buffer): void {
    this.data = Buffer.concat([this.data, d]);
    this.wake();
  }
  async bytes(n: number): Promise<Buffer> {
    while (this.data.length < n)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    const out = this.data.subarray(0, n);
    this.data = this.data.subarray(n);
    return out;
  }
}

/** The handshake with a password, and the first picture of a bare machine. */
async function picture(reader: Reader, send: (b: Uint8Array) => void, password: string): Promise<{ name: string; size: string }> {
  assert.equal((await reader.bytes(12)).toString(), "RFB 003.008\n");
  send(Buffer.from("RFB 003.008\n"));
  assert.deepEqual([...(await reader.bytes(2))], [1, 2]);
  send(Uint8Array.of(2));
  send(vncResponse(password, await reader.bytes(16)));
  assert.deepEqual([...(await reader.bytes(4))], [0, 0, 0, 0]);
  send(Uint8Array.of(1));
  const init = await reader.bytes(24);
  const name = (await reader.bytes(init.readUInt32BE(20))).toString();
  const [w, h] = [init.readUInt16BE(0), init.readUInt16BE(2)];
  send(Uint8Array.of(3, 0, 0, 0, 0, 0, w >> 8, w & 255, h >> 8, h & 255));
  const update = await reader.bytes(4);
  assert.equal(update[0], 0);
  return { name, size: `${w}x${h}` };
}

test("a viewer over TCP and over WebSocket; monitors", async (t) => {
  const vm = await createMachine({
    args: ["-name", "guest", ...BARE, "127.0.0.1:40,to=99,password=on,websocket=0"],
  });
  t.after(() => vm[Symbol.asyncDispose]());
  const [server] = vm.vnc.list();
  const port = server!.address!.port;
  assert.ok(port >= 5940);
  await monitorCommand(vm, "set_password vnc abc");
  const socket = connect({ host: "127.0.0.1", port });
  const tcp = new Reader();
  socket.on("data", (d) => tcp.push(d as Buffer));
  assert.deepEqual(await picture(tcp, (b) => void socket.write(b), "abc"), { name: "QEMU (guest)", size: "720x400" });
  const ws = new WebSocket(`ws://127.0.0.1:${server!.websocketAddress!.port}`, ["binary"]);
  const web = new Reader();
  ws.on("message", (d) => web.push(d as Buffer));
  await once(ws, "open");
  await monitorCommand(vm, "change vnc password xyz");
  assert.equal((await picture(web, (b) => ws.send(b), "xyz")).size, "720x400");
  const info = await monitorCommand(vm, "info vnc");
  assert.match(info, new RegExp(`^default:\n  Server: 127.0.0.1:${port} \\(ipv4\\)\n    Auth: vnc \\(Sub: none\\)\n`));
  assert.equal(info.match(/ Client: 127\.0\.0\.1:/g)?.length, 2);
  assert.match(await monitorCommand(vm, "info mice"), /^\* Mouse #0: QEMU PS\/2 Mouse\n/);
  socket.destroy();
  ws.terminate();
});

test("servers that cannot be", async () => {
  const busy = await createMachine({ args: [...BARE, "127.0.0.1:41,to=99"] });
  const display = busy.vnc.list()[0]!.address!.port - 5900;
  const rows: readonly (readonly [string[], RegExp])[] = [
    [["127.0.0.1:x"], /^-vnc 127\.0\.0\.1:x: '127\.0\.0\.1:x': expected \[HOST\]:DISPLAY/],
    [["127.0.0.1:99999"], /with a display from 0 to 59635/],
    [[":1,tls-creds=x"], /'tls-creds' is not supported/],
    [[":1,share=foo"], /'share' does not accept value 'foo'/],
    [[":1,password-secret=s"], /no secret with id 's'/],
    [[`127.0.0.1:${display}`], /could not listen on 127\.0\.0\.1:\d+: Address already in use/],
    [["203.0.113.1:1"], /could not listen on 203\.0\.113\.1:5901: Cannot assign requested address/],
    [[":1,websocket=x"], /'websocket' expects 'on' or a port/],
  ];
  for (const [args, message] of rows)
    await assert.rejects(
      createMachine({ args: [...BARE, ...args] }),
      (e: unknown) => e instanceof VmError && message.test(e.message) && !e.message.includes("\n"),
      args.join(" "),
    );
  await busy[Symbol.asyncDispose]();
});
