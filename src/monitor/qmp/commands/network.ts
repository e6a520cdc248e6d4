/** Networks. Source: QEMU 7.2 qapi/net.json. */
import { command, type QmpCommand } from "../command.js";
import { bool, enumeration, str } from "../types.js";

export const NETWORK_COMMANDS: readonly QmpCommand[] = [
  command("netdev_add", {
    doc: "Adds a network of the host; further members are those of -netdev.",
    args: { type: enumeration("NetClientDriver", ["user", "socket", "tap", "hubport"]), id: str },
    openArgs: true,
    run: ({ target }, args) => target.addNetdev(JSON.stringify(args)),
  }),
  command("netdev_del", {
    doc: "Removes a network of the host.",
    args: { id: str },
    run: ({ target }, { id }) => target.networks.remove(id),
  }),
  command("set_link", {
    doc: "Plugs in or pulls the cable of a network or card.",
    args: { name: str, up: bool },
    run: ({ target }, { name, up }) => target.networks.setLink(name, up),
  }),
];
