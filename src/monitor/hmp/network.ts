/** Networks in the human monitor. */
import type { NetCard } from "../../machine/board.js";
import type { NetdevSummary } from "../../machine/networks.js";
import { parseForward, parseForwardSource } from "../../net/user/config.js";
import type { UserNet } from "../../net/user/user-net.js";
import type { MonitorTarget } from "../target.js";
import type { Args, Command } from "./command.js";

const ids = (target: MonitorTarget) => target.networks.list().map((n) => n.id);

const cardText = (c: NetCard) => `${c.name}: index=0,type=nic,model=${c.model},macaddr=${c.mac}\n`;
const netText = (n: NetdevSummary) => `${n.id}: index=0,type=${n.type}${n.info === "" ? "" : `,${n.info}`}\n`;

/** `info network`: hubs with what is at their ports, then cards with their networks, then networks without a card. */
export function networkText(networks: MonitorTarget["networks"]): string {
  const all = networks.list();
  const hubs = new Map<number, NetdevSummary[]>();
  for (const n of all) if (n.hub !== undefined) hubs.set(n.hub, [...(hubs.get(n.hub) ?? []), n]);
  let out = "";
  for (const [number, ports] of [...hubs].sort(([a], [b]) => a - b)) {
    out += `hub ${number}\n`;
    for (const p of ports) {
      out += ` \\ ${p.id}`;
      out += p.card ? `: ${cardText(p.card)}` : "\n";
    }
  }
  for (const n of all) {
    if (n.hub !== undefined) continue;
    out += n.card ? `${cardText(n.card)} \\ ${netText(n)}` : netText(n);
  }
  for (const c of networks.looseCards()) out += cardText(c);
  return out;
}

/** `info usernet`. */
export function usernetText(net: UserNet): string {
  let out = `VLAN -1 (${net.id}):\n`;
  out += "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n";
  for (const r of net.rows()) {
    const name = r.state === "" ? r.protocol : `${r.protocol}[${r.state}]`;
    const side = (address: string, port: number) => `${address.padStart(15)} ${String(port).padStart(5)}`;
    out += `  ${name.padEnd(18)} ${"-".padStart(3)} ${side(r.source, r.sourcePort)} ${side(r.destination, r.destinationPort)}`;
    out += ` ${String(r.receiveBytes).padStart(5)} ${String(r.sendBytes).padStart(5)}\n`;
  }
  return out;
}

/** `[netdev_id] rule`: the network that is meant, and the rule. */
function ruleArgs(target: MonitorTarget, args: Args): { net: UserNet; rule: string } {
  const first = args.word();
  const second = args.optionalWord();
  args.end();
  return { net: target.networks.user(second === undefined ? undefined : first), rule: second ?? first };
}

export const NETWORK_INFO: readonly Command[] = [
  {
    names: ["network"],
    args: "",
    help: "show the network state",
    run: ({ target, print }, args) => {
      args.end();
      print(networkText(target.networks));
    },
  },
  {
    names: ["usernet"],
    args: "",
    help: "show user network stack connection states",
    run: ({ target, print }, args) => {
      args.end();
      for (const net of target.networks.users()) print(usernetText(net));
    },
  },
];

export const NETWORK_COMMANDS: readonly Command[] = [
  {
    names: ["hostfwd_add"],
    args: "[netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
    help: "redirect TCP or UDP connections from host to guest (requires -netdev user)",
    run: async ({ target }, args) => {
      const { net, rule } = ruleArgs(target, args);
      await net.addForward(parseForward(rule) ?? args.fail(`invalid host forwarding rule '${rule}'`));
    },
  },
  {
    names: ["hostfwd_remove"],
    args: "[netdev_id] [tcp|udp]:[hostaddr]:hostport",
    help: "remove host-to-guest TCP or UDP redirection",
    run: ({ target, print }, args) => {
      const { net, rule } = ruleArgs(target, args);
      const source = parseForwardSource(rule) ?? args.fail(`invalid format '${rule}'`);
      print(`host forwarding rule for ${rule} ${net.removeForward(source) ? "removed" : "not found"}\n`);
    },
  },
  {
    names: ["netdev_add"],
    args: "[user|socket|tap|hubport],id=str[,prop=value][,...]",
    help: "add a host network",
    run: ({ target }, args) => target.addNetdev(args.rest()),
  },
  {
    names: ["netdev_del"],
    args: "id",
    help: "remove a host network",
    complete: ids,
    run: ({ target }, args) => {
      const id = args.word();
      args.end();
      target.networks.remove(id);
    },
  },
  {
    names: ["set_link"],
    args: "name on|off",
    help: "change the link status of a network adapter",
    complete: ids,
    run: ({ target }, args) => {
      const name = args.word();
      const word = args.word();
      args.end();
      if (word !== "on" && word !== "off") args.fail("expected 'on' or 'off'");
      target.networks.setLink(name, word === "on");
    },
  },
];
