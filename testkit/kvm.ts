/** Tests on /dev/kvm: skipped with one line where it cannot be used. */
import { type TestContext, test } from "node:test";
import { cannotOpen, type KvmHost, openKvm } from "../src/accel/kvm/host.js";
import { nodeHost } from "../src/host/node/index.js";

const kvm = await openKvm(nodeHost("test"));

/** KVM of this host, for tests that need to know it. */
export const kvmHost: KvmHost | undefined = cannotOpen(kvm) ? undefined : kvm;

/** A test that needs KVM. */
export function kvmTest(name: string, body: (t: TestContext, kvm: KvmHost) => Promise<void> | void): void {
  test(name, { skip: cannotOpen(kvm) ? `no KVM here: ${kvm.line}` : false }, (t) => body(t, kvm as KvmHost));
}
