/** `-device e1000`: network cards that are PCI functions of their own. */
import { BootPath } from "../firmware/boot-order.js";
import { E1000, e1000Type } from "../hw/net/e1000.js";
import type { SiteBoard } from "./pc-device-site.js";
import type { Maker } from "./pc-devices.js";

export const PCI_NETWORK_MAKERS: readonly Maker<SiteBoard>[] = [
  {
    type: e1000Type,
    make(site, order) {
      const { props, config } = order;
      const mac = site.mac(props.mac);
      const device = new E1000(site.board.pciCtx, { mac, netdev: site.netdev(props.netdev, order), id: config.id });
      const devfn = site.attachPci(device, props);
      site.bootIndex(props.bootindex, BootPath.network(devfn >> 3, devfn & 7));
    },
  },
];
