/**
 * Structures of the KVM API as x86-64 has them. Source: Linux, Documentation/virt/kvm/api.rst. Names are the kernel's,
 * without "kvm_".
 */
import { layout } from "./layout.js";

export const REGS = layout({
  rax: "u64",
  rbx: "u64",
  rcx: "u64",
  rdx: "u64",
  rsi: "u64",
  rdi: "u64",
  rsp: "u64",
  rbp: "u64",
  r8: "u64",
  r9: "u64",
  r10: "u64",
  r11: "u64",
  r12: "u64",
  r13: "u64",
  r14: "u64",
  r15: "u64",
  rip: "u64",
  rflags: "u64",
});

export const SEGMENT = layout({
  base: "u64",
  limit: "u32",
  selector: "u16",
  type: "u8",
  present: "u8",
  dpl: "u8",
  db: "u8",
  s: "u8",
  l: "u8",
  g: "u8",
  avl: "u8",
  unusable: "u8",
  padding: "u8",
});

export const DTABLE = layout({ base: "u64", limit: "u16", padding: ["u16", 3] });

const sregsHead = {
  cs: SEGMENT,
  ds: SEGMENT,
  es: SEGMENT,
  fs: SEGMENT,
  gs: SEGMENT,
  ss: SEGMENT,
  tr: SEGMENT,
  ldt: SEGMENT,
  gdt: DTABLE,
  idt: DTABLE,
  cr0: "u64",
  cr2: "u64",
  cr3: "u64",
  cr4: "u64",
  cr8: "u64",
  efer: "u64",
  apic_base: "u64",
} as const;
export const SREGS = layout({ ...sregsHead, interrupt_bitmap: ["u64", 4] });
export const SREGS2 = layout({ ...sregsHead, flags: "u64", pdptrs: ["u64", 4] });
/** SREGS2.flags: pdptrs are valid. */
export const SREGS2_PDPTRS_VALID = 1;

export const DEBUGREGS = layout({ db: ["u64", 4], dr6: "u64", dr7: "u64", flags: "u64", reserved: ["u64", 9] });

export const XCR = layout({ xcr: "u32", reserved: "u32", value: "u64" });
export const XCRS = layout({ nr_xcrs: "u32", flags: "u32", xcrs: ["u64", 2 * 16], padding: ["u64", 16] });
export const XSAVE_AREA = layout({ region: ["u32", 1024] });

export const VCPU_EVENTS = layout({
  exception_injected: "u8",
  exception_nr: "u8",
  exception_has_error_code: "u8",
  exception_pending: "u8",
  exception_error_code: "u32",
  interrupt_injected: "u8",
  interrupt_nr: "u8",
  interrupt_soft: "u8",
  interrupt_shadow: "u8",
  nmi_injected: "u8",
  nmi_pending: "u8",
  nmi_masked: "u8",
  nmi_pad: "u8",
  sipi_vector: "u32",
  flags: "u32",
  smi_smm: "u8",
  smi_pending: "u8",
  smi_inside_nmi: "u8",
  smi_latched_init: "u8",
  triple_fault_pending: "u8",
  reserved: ["u8", 26],
  exception_has_payload: "u8",
  exception_payload: "u64",
});
/** VCPU_EVENTS.flags. */
export const EVENT_VALID = { nmiPending: 1, sipiVector: 2, shadow: 4, smm: 8, payload: 16, tripleFault: 32 } as const;
/** VCPU_EVENTS.interrupt_shadow. */
export const SHADOW = { movSs: 1, sti: 2 } as const;

export const MP_STATE = layout({ mp_state: "u32" });
export const MP = { runnable: 0, uninitialized: 1, initReceived: 2, halted: 3, sipiReceived: 4 } as const;

export const MSR_ENTRY = layout({ index: "u32", reserved: "u32", data: "u64" });
/** Head of a list of MSR_ENTRY. */
export const MSRS = layout({ nmsrs: "u32", pad: "u32" });

export const CPUID_ENTRY = layout({
  function: "u32",
  index: "u32",
  flags: "u32",
  eax: "u32",
  ebx: "u32",
  ecx: "u32",
  edx: "u32",
  padding: ["u32", 3],
});
/** Head of a list of CPUID_ENTRY. */
export const CPUID = layout({ nent: "u32", padding: "u32" });
export const CPUID_SIGNIFICANT_INDEX = 1;

export const MEMORY_REGION = layout({
  slot: "u32",
  flags: "u32",
  guest_phys_addr: "u64",
  memory_size: "u64",
  userspace_addr: "u64",
});
export const MEM = { logDirtyPages: 1, readOnly: 2 } as const;
export const DIRTY_LOG = layout({ slot: "u32", padding: "u32", dirty_bitmap: "u64" });

export const ENABLE_CAP = layout({ cap: "u32", flags: "u32", args: ["u64", 4], pad: ["u8", 64] });
export const IRQ_LEVEL = layout({ irq: "u32", level: "u32" });
export const INTERRUPT = layout({ irq: "u32" });
export const PIT_CONFIG = layout({ flags: "u32", pad: ["u32", 15] });
export const PIT_CHANNEL = layout({
  count: "u32",
  latched_count: "u16",
  count_latched: "u8",
  status_latched: "u8",
  status: "u8",
  read_state: "u8",
  write_state: "u8",
  write_latch: "u8",
  rw_mode: "u8",
  mode: "u8",
  bcd: "u8",
  gate: "u8",
  count_load_time: "i64",
});
export const PIT_STATE2 = layout({ channels: ["u64", 9], flags: "u32", reserved: ["u32", 9] });
export const LAPIC = layout({ regs: ["u8", 1024] });
export const IRQCHIP = layout({ chip_id: "u32", pad: "u32", chip: ["u8", 512] });
export const CHIP = { picMaster: 0, picSlave: 1, ioapic: 2 } as const;
export const PIC_STATE = layout({
  last_irr: "u8",
  irr: "u8",
  imr: "u8",
  isr: "u8",
  priority_add: "u8",
  irq_base: "u8",
  read_reg_select: "u8",
  poll: "u8",
  special_mask: "u8",
  init_state: "u8",
  auto_eoi: "u8",
  rotate_on_auto_eoi: "u8",
  special_fully_nested_mode: "u8",
  init4: "u8",
  elcr: "u8",
  elcr_mask: "u8",
});
export const IOAPIC_STATE = layout({
  base_address: "u64",
  ioregsel: "u32",
  id: "u32",
  irr: "u32",
  pad: "u32",
  redirtbl: ["u64", 24],
});
export const IRQFD = layout({ fd: "u32", gsi: "u32", flags: "u32", resamplefd: "u32", pad: ["u8", 16] });
export const IRQFD_DEASSIGN = 1;
export const IOEVENTFD = layout({ datamatch: "u64", addr: "u64", len: "u32", fd: "i32", flags: "u32", pad: ["u8", 36] });
export const IOEVENT = { datamatch: 1, pio: 2, deassign: 4 } as const;
export const MSI = layout({ address_lo: "u32", address_hi: "u32", data: "u32", flags: "u32", devid: "u32", pad: ["u8", 12] });
export const CLOCK_DATA = layout({ clock: "u64", flags: "u32", pad0: "u32", realtime: "u64", host_tsc: "u64", pad: ["u32", 4] });
export const MSR_FILTER_RANGE = layout({ flags: "u32", nmsrs: "u32", base: "u32", bitmap: "u64" });
export const MSR_FILTER_RANGES = 16;
export const MSR_FILTER = layout({ flags: "u32", ranges: ["u64", 3 * MSR_FILTER_RANGES] });
export const GUEST_DEBUG = layout({ control: "u32", pad: "u32", debugreg: ["u64", 8] });

/** The head of kvm_run; the union of the exits begins at EXIT_AT. */
export const RUN = layout({
  request_interrupt_window: "u8",
  immediate_exit: "u8",
  padding1: ["u8", 6],
  exit_reason: "u32",
  ready_for_interrupt_injection: "u8",
  if_flag: "u8",
  flags: "u16",
  cr8: "u64",
  apic_base: "u64",
  exit: ["u64", 32],
  kvm_valid_regs: "u64",
  kvm_dirty_regs: "u64",
  s: ["u64", 256],
});
export const EXIT_AT = RUN.at.exit;
export const SYNC_AT = RUN.at.s;
/** kvm_valid_regs, kvm_dirty_regs. In kvm_run.s: regs, then sregs, then events. */
export const SYNC = { regs: 1, sregs: 2, events: 4 } as const;

export const EXIT_IO = layout({ direction: "u8", size: "u8", port: "u16", count: "u32", data_offset: "u64" });
export const EXIT_MMIO = layout({ phys_addr: "u64", data: ["u8", 8], len: "u32", is_write: "u8" });
export const EXIT_INTERNAL = layout({ suberror: "u32", ndata: "u32", data: ["u64", 16] });
export const EXIT_EMULATION = layout({ suberror: "u32", ndata: "u32", flags: "u64", insn_size: "u8", insn_bytes: ["u8", 15] });
export const EXIT_MSR = layout({ error: "u8", pad: ["u8", 7], reason: "u32", index: "u32", data: "u64" });
export const EXIT_FAIL_ENTRY = layout({ reason: "u64", cpu: "u32" });
export const EXIT_DEBUG = layout({ exception: "u32", pad: "u32", pc: "u64", dr6: "u64", dr7: "u64" });
export const EXIT_SYSTEM_EVENT = layout({ type: "u32", ndata: "u32", data: ["u64", 16] });
export const EXIT_EOI = layout({ vector: "u8" });
