/** `tandem doctor`: what accelerates guests on this host, a fact a line as virt-host-validate prints it, and what to do about it. */
import { parseArgs } from "node:util";
import { AUTO_KERNEL_MIPS, type HostFacts, hostFacts } from "../../accel/facts.js";
import { VmError } from "../../base/errors.js";
import { nodeHost } from "../../host/node/index.js";

type Verdict = "PASS" | "WARN" | "FAIL";

interface Line {
  readonly topic: string;
  readonly verdict: Verdict;
  readonly text: string;
}

const WIDTH = 58;
/** A KVM slower than this in a mode emulates it. */
const rate = (mips: number) => `${mips >= 100 ? Math.round(mips) : mips.toFixed(1)} million instructions a second`;

/** The facts as lines. */
export function doctorLines(f: HostFacts): Line[] {
  const out: Line[] = [];
  const say = (topic: string, ok: boolean | Verdict, text: string) =>
    out.push({ topic, verdict: typeof ok === "string" ? ok : ok ? "PASS" : "FAIL", text });
  say("host processor", "PASS", `${f.cpu.vendor}, ${f.cpu.model} (${f.architecture})`);
  say(
    "hardware virtualization",
    f.extension !== "none" ? "PASS" : "WARN",
    f.extension !== "none"
      ? f.extension
      : f.virtualised
        ? "none: this host is a guest; nested virtualization must be turned on in its hypervisor"
        : "none: turn on VT-x (VMX) or AMD-V (SVM) in the firmware's setup",
  );
  say("second-level page tables", f.secondLevelTables ? "PASS" : "WARN", f.secondLevelTables ? "EPT or NPT" : "none");
  say("nested virtualization for guests", f.nested ? "PASS" : "WARN", f.nested ? "on" : "off: guests of this host have no KVM");
  say(
    "kernel modules",
    f.modules.length > 0,
    f.modules.length > 0 ? f.modules.join(", ") : "none: load kvm_intel or kvm_amd (modprobe)",
  );
  const o = f.obstacle;
  say("device /dev/kvm", !o, o ? `${o.line}; ${o.advice}` : "can be used");
  if (f.apiVersion !== undefined) {
    say("KVM API", "PASS", `version ${f.apiVersion}`);
    const missing = f.capabilities.filter((c) => c.value === 0).map((c) => c.name);
    say(
      "KVM capabilities",
      missing.length === 0 ? "PASS" : "WARN",
      `${f.capabilities.length - missing.length} of ${f.capabilities.length}${missing.length > 0 ? `; not there: ${missing.join(", ")}` : ""}`,
    );
  }
  if (f.speed) {
    const s = f.speed;
    const verdict = (mips: number): Verdict => (mips >= AUTO_KERNEL_MIPS ? "PASS" : "WARN");
    const emulated = (mips: number) => (mips >= AUTO_KERNEL_MIPS ? "" : " (emulated by the host's kernel)");
    say("speed of 64-bit user code", verdict(s.user64), rate(s.user64) + emulated(s.user64));
    say("speed of 64-bit kernel code", verdict(s.kernel64), rate(s.kernel64) + emulated(s.kernel64));
    say("speed of real mode", verdict(s.real), rate(s.real) + emulated(s.real));
    say("cost of a port access", "PASS", `${s.portExitUs.toFixed(1)} us`);
  }
  say("-accel auto takes", "PASS", `${f.auto.takes}: ${f.auto.why}`);
  say("what that is", "PASS", meaning(f.auto.takes));
  return out;
}

/** What emulator and accelerator then amount to. */
function meaning(takes: HostFacts["auto"]["takes"]): string {
  return takes === "kvm"
    ? "the guest's code runs on the host's processor, from within the host's kernel: a type 1 hypervisor, with Tandem as its device model"
    : "an ordinary process translates the guest's code: a type 2 hypervisor that runs anywhere JavaScript does";
}

/** @returns the exit status: 0, also without KVM, for TCG always runs @throws VmError "option/invalid" */
export async function doctor(args: readonly string[]): Promise<number> {
  let json: boolean;
  try {
    json = parseArgs({ args: [...args], options: { json: { type: "boolean", default: false } } }).values.json;
  } catch (e) {
    throw new VmError("option/invalid", `doctor: ${e instanceof Error ? e.message : e}; usage: tandem doctor [--json]`);
  }
  const facts = await hostFacts(nodeHost());
  if (json) process.stdout.write(`${JSON.stringify({ ...facts, meaning: meaning(facts.auto.takes) }, null, 2)}\n`);
  else
    for (const l of doctorLines(facts))
      process.stdout.write(`${`  TANDEM: Checking ${l.topic}`.padEnd(WIDTH)}: ${l.verdict} (${l.text})\n`);
  return 0;
}
