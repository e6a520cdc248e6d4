/** The KVM API's requests, capabilities and exit reasons by number. Source: Linux, include/uapi/linux/kvm.h (facts). */
import { io, ior, iow, iowr } from "./layout.js";
import * as S from "./structs.js";

const KVMIO = 0xae;

/** The only version there is. */
export const API_VERSION = 12;

/** On /dev/kvm. */
export const System = {
  getApiVersion: io(KVMIO, 0x00),
  createVm: io(KVMIO, 0x01),
  getMsrIndexList: iowr(KVMIO, 0x02, 4),
  checkExtension: io(KVMIO, 0x03),
  getVcpuMmapSize: io(KVMIO, 0x04),
  getSupportedCpuid: iowr(KVMIO, 0x05, S.CPUID.sizeBytes),
} as const;

/** On a VM. */
export const Vm = {
  createVcpu: io(KVMIO, 0x41),
  getDirtyLog: iow(KVMIO, 0x42, S.DIRTY_LOG.sizeBytes),
  setUserMemoryRegion: iow(KVMIO, 0x46, S.MEMORY_REGION.sizeBytes),
  setTssAddr: io(KVMIO, 0x47),
  setIdentityMapAddr: iow(KVMIO, 0x48, 8),
  createIrqchip: io(KVMIO, 0x60),
  irqLine: iow(KVMIO, 0x61, S.IRQ_LEVEL.sizeBytes),
  getIrqchip: iowr(KVMIO, 0x62, S.IRQCHIP.sizeBytes),
  setIrqchip: ior(KVMIO, 0x63, S.IRQCHIP.sizeBytes),
  irqfd: iow(KVMIO, 0x76, S.IRQFD.sizeBytes),
  createPit2: iow(KVMIO, 0x77, S.PIT_CONFIG.sizeBytes),
  ioeventfd: iow(KVMIO, 0x79, S.IOEVENTFD.sizeBytes),
  setClock: iow(KVMIO, 0x7b, S.CLOCK_DATA.sizeBytes),
  getClock: ior(KVMIO, 0x7c, S.CLOCK_DATA.sizeBytes),
  getPit2: ior(KVMIO, 0x9f, S.PIT_STATE2.sizeBytes),
  setPit2: iow(KVMIO, 0xa0, S.PIT_STATE2.sizeBytes),
  enableCap: iow(KVMIO, 0xa3, S.ENABLE_CAP.sizeBytes),
  signalMsi: iow(KVMIO, 0xa5, S.MSI.sizeBytes),
  setGsiRouting: iow(KVMIO, 0x6a, 8),
  x86SetMsrFilter: iow(KVMIO, 0xc6, S.MSR_FILTER.sizeBytes),
} as const;

/** On a vCPU. */
export const Vcpu = {
  run: io(KVMIO, 0x80),
  getRegs: ior(KVMIO, 0x81, S.REGS.sizeBytes),
  setRegs: iow(KVMIO, 0x82, S.REGS.sizeBytes),
  getSregs: ior(KVMIO, 0x83, S.SREGS.sizeBytes),
  setSregs: iow(KVMIO, 0x84, S.SREGS.sizeBytes),
  interrupt: iow(KVMIO, 0x86, S.INTERRUPT.sizeBytes),
  getMsrs: iowr(KVMIO, 0x88, S.MSRS.sizeBytes),
  setMsrs: iow(KVMIO, 0x89, S.MSRS.sizeBytes),
  getLapic: ior(KVMIO, 0x8e, S.LAPIC.sizeBytes),
  setLapic: iow(KVMIO, 0x8f, S.LAPIC.sizeBytes),
  setCpuid2: iow(KVMIO, 0x90, S.CPUID.sizeBytes),
  getMpState: ior(KVMIO, 0x98, S.MP_STATE.sizeBytes),
  setMpState: iow(KVMIO, 0x99, S.MP_STATE.sizeBytes),
  nmi: io(KVMIO, 0x9a),
  setGuestDebug: iow(KVMIO, 0x9b, S.GUEST_DEBUG.sizeBytes),
  getVcpuEvents: ior(KVMIO, 0x9f, S.VCPU_EVENTS.sizeBytes),
  setVcpuEvents: iow(KVMIO, 0xa0, S.VCPU_EVENTS.sizeBytes),
  getDebugregs: ior(KVMIO, 0xa1, S.DEBUGREGS.sizeBytes),
  setDebugregs: iow(KVMIO, 0xa2, S.DEBUGREGS.sizeBytes),
  getTscKhz: io(KVMIO, 0xa3),
  setTscKhz: io(KVMIO, 0xa2),
  getXsave: ior(KVMIO, 0xa4, S.XSAVE_AREA.sizeBytes),
  setXsave: iow(KVMIO, 0xa5, S.XSAVE_AREA.sizeBytes),
  getXcrs: ior(KVMIO, 0xa6, S.XCRS.sizeBytes),
  setXcrs: iow(KVMIO, 0xa7, S.XCRS.sizeBytes),
  kvmclockCtrl: io(KVMIO, 0xad),
  getSregs2: ior(KVMIO, 0xcc, S.SREGS2.sizeBytes),
  setSregs2: iow(KVMIO, 0xcd, S.SREGS2.sizeBytes),
} as const;

/** A capability: KVM_CHECK_EXTENSION's number, and what it is for in one line of a report. */
export interface Capability {
  readonly name: string;
  readonly number: number;
  readonly meaning: string;
  /** Without it there is no machine. */
  readonly required?: boolean;
}

export const CAPABILITIES = [
  { name: "irqchip", number: 0, meaning: "interrupt controllers in the kernel" },
  { name: "hlt", number: 1, meaning: "HLT leaves the guest" },
  { name: "user_memory", number: 3, meaning: "guest RAM from user memory", required: true },
  { name: "set_tss_addr", number: 4, meaning: "place for the real-mode task state segment" },
  { name: "ext_cpuid", number: 7, meaning: "CPUID tables", required: true },
  { name: "clocksource", number: 8, meaning: "kvm-clock" },
  { name: "nr_vcpus", number: 9, meaning: "recommended number of vCPUs" },
  { name: "nr_memslots", number: 10, meaning: "number of memory slots" },
  { name: "mp_state", number: 14, meaning: "multiprocessing state" },
  { name: "destroy_memory_region_works", number: 21, meaning: "memory slots can be removed", required: true },
  { name: "irq_routing", number: 25, meaning: "interrupt routing table" },
  { name: "irqfd", number: 32, meaning: "interrupts by eventfd" },
  { name: "pit2", number: 33, meaning: "i8254 in the kernel" },
  { name: "set_boot_cpu_id", number: 34, meaning: "choice of the boot processor" },
  { name: "pit_state2", number: 35, meaning: "state of the i8254" },
  { name: "ioeventfd", number: 36, meaning: "eventfds for doorbell writes" },
  { name: "set_identity_map_addr", number: 37, meaning: "place for the identity map" },
  { name: "adjust_clock", number: 39, meaning: "kvm-clock can be read and set" },
  { name: "vcpu_events", number: 41, meaning: "pending events of a vCPU", required: true },
  { name: "intr_shadow", number: 49, meaning: "interrupt shadow in the events" },
  { name: "debugregs", number: 50, meaning: "debug registers" },
  { name: "xsave", number: 55, meaning: "XSAVE area", required: true },
  { name: "xcrs", number: 56, meaning: "extended control registers" },
  { name: "tsc_control", number: 60, meaning: "time stamp counter of any frequency" },
  { name: "get_tsc_khz", number: 61, meaning: "frequency of the time stamp counter" },
  { name: "max_vcpus", number: 66, meaning: "largest number of vCPUs" },
  { name: "tsc_deadline_timer", number: 72, meaning: "TSC-deadline timer in the kernel's APIC" },
  { name: "sync_regs", number: 74, meaning: "registers in the run structure" },
  { name: "signal_msi", number: 77, meaning: "message-signalled interrupts" },
  { name: "readonly_mem", number: 81, meaning: "read-only memory slots" },
  { name: "x86_smm", number: 117, meaning: "system management mode" },
  { name: "split_irqchip", number: 121, meaning: "local APICs in the kernel, the rest in user space" },
  { name: "max_vcpu_id", number: 128, meaning: "largest vCPU number" },
  { name: "immediate_exit", number: 136, meaning: "run can be told to return at once" },
  { name: "nested_state", number: 157, meaning: "nested virtualisation" },
  { name: "exception_payload", number: 164, meaning: "payloads of pending exceptions" },
  { name: "x86_user_space_msr", number: 188, meaning: "MSR accesses leave the guest" },
  { name: "x86_msr_filter", number: 189, meaning: "choice of the MSRs that do" },
  { name: "sregs2", number: 200, meaning: "PDPTEs in the special registers" },
  { name: "exit_on_emulation_failure", number: 204, meaning: "instructions that cannot be emulated leave the guest" },
  { name: "vm_tsc_control", number: 214, meaning: "TSC frequency of the whole VM" },
  { name: "triple_fault_event", number: 218, meaning: "triple fault as an event" },
] as const satisfies readonly Capability[];
export type CapabilityName = (typeof CAPABILITIES)[number]["name"];

export const EXIT = {
  unknown: 0,
  exception: 1,
  io: 2,
  hypercall: 3,
  debug: 4,
  hlt: 5,
  mmio: 6,
  irqWindowOpen: 7,
  shutdown: 8,
  failEntry: 9,
  intr: 10,
  setTpr: 11,
  tprAccess: 12,
  nmi: 16,
  internalError: 17,
  systemEvent: 24,
  ioapicEoi: 26,
  rdmsr: 29,
  wrmsr: 30,
  memoryFault: 39,
} as const;

/** EXIT.internalError's suberror: an instruction that KVM cannot emulate. */
export const INTERNAL_EMULATION = 1;
/** Bits of the argument of x86_user_space_msr. */
export const MSR_EXIT = { invalid: 1, unknown: 2, filter: 4 } as const;
