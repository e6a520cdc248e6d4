/** USB devices on real firmware. */
import { debianTest } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";

const GRUB = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso";

debianTest("GRUB, typed to on a USB keyboard; there is no other", [{ package: "grub-rescue-pc", path: GRUB }], async (t) => {
  const options = ["-machine", "pc,i8042=off", "-usb", "-device", "usb-kbd", "-device", "usb-tablet"];
  const guest = await Guest.start(t, ["-m", "64", ...options, "-boot", "d", "-cdrom", GRUB]);
  await guest.onScreen("GNU GRUB", 120);
  await guest.type("c");
  await guest.onScreen(/^grub>/m, 60);
  await guest.type("ls\n");
  await guest.onScreen(/\(cd\)/, 60);
});
