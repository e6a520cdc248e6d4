/** The special purpose registers that a partition has (Power ISA 3.0B III 4.4.5 and appendix), by number. */
import * as L from "./layout.js";
import { type PpcTranslator, spr } from "./translator.js";

type Read = (t: PpcTranslator, d: number) => void;
type Write = (t: PpcTranslator, s: number) => void;

export interface Spr {
  readonly number: number;
  readonly name: string;
  /** Absent: reading (writing) is not possible. */
  readonly read?: Read;
  readonly write?: Write;
  /** Hypervisor resource: a partition gets a privileged instruction interrupt. */
  readonly hypervisor?: boolean;
  readonly isa300?: boolean;
}

export const SPRS = new Map<number, Spr>();

/** Plain storage of 64 (or with `mask` fewer) bits. */
function plain(number: number, name: string, o: { readonly?: boolean; word?: boolean; at?: number } = {}): void {
  const at = o.at ?? spr(number);
  const read: Read = (t, d) => t.mov(d, at);
  const write: Write = (t, s) => {
    if (o.word) t.op("ext32u", at, s);
    else t.mov(at, s);
  };
  SPRS.set(number, o.readonly ? { number, name, read } : { number, name, read, write });
}

function special(number: number, name: string, read: Read | undefined, write: Write | undefined): void {
  SPRS.set(number, { number, name, ...(read ? { read } : {}), ...(write ? { write } : {}) });
}

function hypervisor(number: number, name: string): void {
  SPRS.set(number, { number, name, hypervisor: true });
}

const helper =
  (name: string): Write =>
  (t, s) =>
    void t.call(name, s);

/** Where the parts of XER are (I 3.2.2). */
const XER_PARTS: readonly [number, number][] = [
  [L.SO, 31],
  [L.OV, 30],
  [L.CA, 29],
  [L.OV32, 19],
  [L.CA32, 18],
];
special(
  1,
  "XER",
  (t, d) => {
    let v = L.XER_BYTES;
    for (const [slot, bit] of t.isa300 ? XER_PARTS : XER_PARTS.slice(0, 3)) v = t.t("or", v, t.t("shli", slot, 0, bit));
    t.mov(d, v);
  },
  (t, s) => {
    for (const [slot, bit] of t.isa300 ? XER_PARTS : XER_PARTS.slice(0, 3)) t.op("bit", slot, s, 0, bit);
    t.op("andi", L.XER_BYTES, s, 0, 0x7f);
  },
);
plain(3, "DSCR", { at: spr(L.SPR_DSCR) });
plain(8, "LR", { at: L.LR });
plain(9, "CTR", { at: L.CTR });
special(13, "AMR", (t, d) => t.mov(d, spr(L.SPR_AMR)), helper("h_write_amr"));
plain(17, "DSCR");
plain(18, "DSISR", { word: true });
plain(19, "DAR");
special(22, "DEC", (t, d) => void t.callPure("h_read_dec", 0, 0, 0, d), helper("h_write_dec"));
plain(26, "SRR0");
plain(27, "SRR1");
plain(28, "CFAR");
special(29, "AMR", (t, d) => t.mov(d, spr(29)), helper("h_write_amr"));
special(48, "PIDR", (t, d) => t.mov(d, spr(48)), helper("h_write_pid"));
special(61, "IAMR", (t, d) => t.mov(d, spr(61)), helper("h_write_iamr"));
for (const [n, name] of [
  [128, "TFHAR"],
  [129, "TFIAR"],
  [130, "TEXASR"],
  [131, "TEXASRU"],
] as const)
  SPRS.set(n, { number: n, name });
plain(136, "CTRL", { readonly: true, at: spr(L.SPR_CTRL) });
plain(152, "CTRL", { word: true });
special(153, "FSCR", (t, d) => t.mov(d, spr(153)), helper("h_write_fscr"));
plain(157, "UAMOR");
plain(159, "PSPB", { word: true });
plain(176, "DPDES");
for (const [n, name] of [
  [180, "DAWR0"],
  [186, "RPR"],
  [187, "CIABR"],
  [188, "DAWRX0"],
  [190, "HFSCR"],
  [304, "HSPRG0"],
  [305, "HSPRG1"],
  [306, "HDSISR"],
  [307, "HDAR"],
  [310, "HDEC"],
  [313, "HRMOR"],
  [314, "HSRR0"],
  [315, "HSRR1"],
  [318, "LPCR"],
  [319, "LPIDR"],
  [336, "HMER"],
  [337, "HMEER"],
  [338, "PCR"],
  [339, "HEIR"],
  [349, "AMOR"],
  [464, "PTCR"],
  [816, "ASDR"],
  [855, "PSSCR"],
  [1008, "HID0"],
] as const)
  hypervisor(n, name);
plain(256, "VRSAVE", { word: true });
plain(259, "SPRG3", { readonly: true, at: spr(275) });
special(268, "TB", (t, d) => void t.callPure("h_time_base", 0, 0, 0, d), undefined);
special(269, "TBU", (t, d) => void t.op("shri", d, t.callPure("h_time_base"), 0, 32), undefined);
for (let i = 0; i < 4; i++) plain(272 + i, `SPRG${i}`);
for (const [n, name] of [
  [284, "TBL"],
  [285, "TBU"],
  [286, "TBU40"],
] as const)
  hypervisor(n, name);
plain(287, "PVR", { readonly: true, at: L.PVR });
// A vCPU has its processor for itself.
for (const [n, name] of [
  [308, "SPURR"],
  [309, "PURR"],
] as const)
  special(n, name, (t, d) => void t.callPure("h_time_base", 0, 0, 0, d), undefined);
plain(446, "TIDR");
// The performance monitor's registers are storage: nothing is counted.
for (const [user, privileged, name] of [
  [768, 784, "SIER"],
  [769, 785, "MMCR2"],
  [770, 786, "MMCRA"],
  [771, 787, "PMC1"],
  [772, 788, "PMC2"],
  [773, 789, "PMC3"],
  [774, 790, "PMC4"],
  [775, 791, "PMC5"],
  [776, 792, "PMC6"],
  [779, 795, "MMCR0"],
  [780, 796, "SIAR"],
  [781, 797, "SDAR"],
  [782, 798, "MMCR1"],
] as const) {
  plain(user, `U${name}`, { readonly: true, at: spr(privileged) });
  plain(privileged, name);
}
for (const [n, name] of [
  [800, "BESCRS"],
  [801, "BESCRSU"],
  [802, "BESCRR"],
  [803, "BESCRRU"],
] as const)
  SPRS.set(n, { number: n, name });
plain(804, "EBBHR");
plain(805, "EBBRR");
plain(806, "BESCR");
plain(815, "TAR");
plain(823, "PSSCR");
plain(848, "IC", { readonly: true, at: spr(848) });
special(849, "VTB", (t, d) => void t.callPure("h_time_base", 0, 0, 0, d), undefined);
plain(896, "PPR");
special(
  898,
  "PPR32",
  (t, d) => void t.op("shri", d, spr(896), 0, 32),
  (t, s) => void t.op("shli", spr(896), s, 0, 32),
);
plain(1023, "PIR", { readonly: true });
// No-operations by definition.
for (let n = 808; n < 812; n++)
  special(
    n,
    "reserved",
    () => {},
    () => {},
  );
