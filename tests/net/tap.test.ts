/** A guest at a tap device of the host; needs the right to make one. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { nodeSyscalls } from "../../src/host/node/syscalls.js";
import { createMachine } from "../../src/index.js";
import { Guest } from "../../testkit/guest.js";

const images = fileURLToPath(new URL("../../guests/x86_64/", import.meta.url));
const PROMPT = "~ # ";
const TUNSETIFF = 0x400454ca;
const O_RDWR = 2;
const IFF_TAP_NO_PI = 0x1002;
const IFF_VNET_HDR = 0x4000;

for (const header of [0, IFF_VNET_HDR])
  test(`ping the host over a tap device${header ? " with virtio headers" : ""}`, async (t) => {
    if (process.getuid?.() !== 0 || !existsSync("/dev/net/tun") || !existsSync("/sbin/ip"))
      return t.skip("needs root, /dev/net/tun and ip");
    const calls = await nodeSyscalls();
    const fd = calls.open("/dev/net/tun", O_RDWR);
    const request = new Uint8Array(40);
    const name = `tdm${process.pid % 10000}${header ? "h" : ""}`;
    request.set(new TextEncoder().encode(name));
    new DataView(request.buffer).setUint16(16, IFF_TAP_NO_PI | header, true);
    if (fd < 0 || calls.ioctlData(fd, TUNSETIFF, request) < 0) return t.skip("this host makes no tap devices");
    execFileSync("/sbin/ip", ["addr", "add", "198.51.100.1/24", "dev", name]);
    execFileSync("/sbin/ip", ["link", "set", name, "up"]);
    const guest = await Guest.start(t, [
      ...["-m", "256", "-vga", "none", "-kernel", `${images}bzImage`, "-initrd", `${images}initrd.lz4`],
      ...["-append", "console=ttyS0 quiet", "-netdev", `tap,id=n,fd=${fd}`, "-device", "virtio-net-pci,netdev=n"],
    ]);
    await guest.onSerial(PROMPT, 120);
    await guest.ask("ifconfig eth0 198.51.100.2 up", PROMPT, 30);
    assert.match(await guest.ask("ping -c 3 198.51.100.1", PROMPT, 30), /[23] packets received/);
    assert.match(guest.machine.networks.list()[0]!.info, new RegExp(`^fd=${fd} \\(${name}\\)$`));
  });

test("a descriptor that is no tap is refused", async () => {
  for (const fd of [0, 9999])
    await assert.rejects(
      createMachine({ args: ["-display", "none", "-nic", `tap,fd=${fd}`] }),
      /^VmError: -nic tap,fd=\d+: fd=\d+ is no/,
    );
});
