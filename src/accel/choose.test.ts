/** The choice among accelerators on hosts that have KVM, half of it, or none of it: QEMU's lines, then what to do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../base/errors.js";
import type { Host, LinuxHost } from "../host/host.js";
import { Errno, type HostSyscalls } from "../host/syscalls.js";
import { type AcceleratorWish, chooseAccelerator } from "./choose.js";
import { API_VERSION, CAPABILITIES, System } from "./kvm/ioctls.js";

/** A host whose /dev/kvm answers as told. */
function host(answers: { open?: number; version?: number; missing?: string; mmap?: number; ffi?: string; arch?: string }): Host {
  const sys = {
    open: () => answers.open ?? 7,
    close: () => 0,
    ioctl: (_fd: number, request: number, argument: number) => {
      if (request === System.getApiVersion) return answers.version ?? API_VERSION;
      if (request === System.getVcpuMmapSize) return answers.mmap ?? 12288;
      if (request === System.checkExtension)
        return CAPABILITIES.find((c) => c.number === argument)?.name === answers.missing ? 0 : 1;
      return -Errno.EINVAL;
    },
  } as unknown as HostSyscalls;
  const linux: LinuxHost = {
    syscalls: async () => {
      if (answers.ffi) throw new VmError("host/no-ffi", answers.ffi);
      return sys;
    },
    readText: async () => "flags\t\t: fpu vmx\n",
    accessible: () => true,
  };
  return { arch: answers.arch ?? "x64", linux } as unknown as Host;
}

const list = (names: string): AcceleratorWish[] => names.split(":").map((name) => ({ name: name as "kvm" }));

const refusals: [what: Parameters<typeof host>[0], guest: string, text: RegExp][] = [
  [{ open: -Errno.ENOENT }, "x86_64", /^Could not access KVM kernel module: No such file or directory\n.*kvm_intel or kvm_amd/],
  [{ open: -Errno.EACCES }, "i386", /^Could not access KVM kernel module: Permission denied\n.*group kvm/],
  [{ open: -Errno.ENODEV }, "x86_64", /^Could not access KVM kernel module: No such device\n/],
  [{ version: -Errno.ENOTTY }, "x86_64", /^Could not access KVM kernel module: Inappropriate ioctl for device\n.*is not KVM/],
  [{ version: 11 }, "x86_64", /^kvm version too old\n.*version 11, 12 is needed/],
  [{ version: 13 }, "x86_64", /^kvm version not supported\n/],
  [{ missing: "user_memory" }, "x86_64", /^kvm does not support user_memory\n.*guest RAM from user memory/],
  [{ mmap: -Errno.EINVAL }, "x86_64", /^kvm does not support vCPU mappings\n/],
  [
    { ffi: "the FFI library koffi is not installed; npm install koffi" },
    "x86_64",
    /^failed to initialize kvm: Function not implemented\n.*npm install koffi/,
  ],
  [{}, "ppc64", /^invalid accelerator kvm\nKVM runs guests of the host's own architecture: this host is x86_64, the guest ppc64/],
  [{ arch: "arm64" }, "x86_64", /^invalid accelerator kvm\n.*this host is arm64, the guest x86_64/],
];

test("KVM alone: refused with the reason, status 1; with tcg after it: the reason and a line that says so", async () => {
  for (const [what, guest, text] of refusals) {
    const label = `${JSON.stringify(what)} ${guest}`;
    await assert.rejects(
      chooseAccelerator(list("kvm"), guest, host(what)),
      (e) => e instanceof VmError && e.code === "accel/unavailable" && text.test(e.message) && e.message.split("\n").length === 2,
      label,
    );
    const choice = await chooseAccelerator(list("kvm:tcg"), guest, host(what));
    assert.equal(choice.name, "tcg", label);
    assert.match(choice.notes.join("\n"), text, label);
    assert.equal(choice.notes.at(-1), "falling back to tcg", label);
    // `auto` needs no excuse.
    assert.deepEqual(await chooseAccelerator(list("auto"), guest, host(what)), { name: "tcg", notes: [] }, label);
  }
});

test("what is there is taken without a word", async () => {
  assert.deepEqual(await chooseAccelerator(list("tcg:kvm"), "x86_64", host({})), { name: "tcg", notes: [] });
  const { name, kvm, notes } = await chooseAccelerator(list("kvm:tcg"), "x86_64", host({}));
  assert.deepEqual([name, kvm?.hardware, notes], ["kvm", true, []]);
});
