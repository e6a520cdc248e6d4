/**
 * /dev/kvm: opened, its API version and capabilities looked at, a VM made. What fails says QEMU's first line and what to do.
 * Source: Linux, Documentation/virt/kvm/api.rst.
 */
import { VmError } from "../../base/errors.js";
import { Errno, type HostSyscalls } from "../../host/syscalls.js";
import { API_VERSION, CAPABILITIES, type CapabilityName, System } from "./ioctls.js";

export const KVM_PATH = "/dev/kvm";
const O_RDWR_CLOEXEC = 0o2000002;

/** Why /dev/kvm cannot be used: QEMU's line, then what to do about it. */
export interface KvmObstacle {
  readonly line: string;
  readonly advice: string;
}

const STRERROR: Readonly<Record<number, string>> = {
  [Errno.EPERM]: "Operation not permitted",
  [Errno.ENOENT]: "No such file or directory",
  [Errno.ENXIO]: "No such device or address",
  [Errno.ENOMEM]: "Cannot allocate memory",
  [Errno.EACCES]: "Permission denied",
  [Errno.EBUSY]: "Device or resource busy",
  [Errno.EEXIST]: "File exists",
  [Errno.ENODEV]: "No such device",
  [Errno.EINVAL]: "Invalid argument",
  [Errno.ENOTTY]: "Inappropriate ioctl for device",
};

/** strerror() for the errnos that KVM gives. */
export function strerror(errno: number): string {
  return STRERROR[errno] ?? `error ${errno}`;
}

/** What can be done about an errno of open(). */
function openAdvice(errno: number): string {
  switch (errno) {
    case Errno.EACCES:
    case Errno.EPERM:
      return `give this user access to ${KVM_PATH} (add it to the group kvm), or use -accel tcg`;
    case Errno.ENOENT:
      return `${KVM_PATH} is not there: load the kernel module kvm_intel or kvm_amd, turn virtualisation on in the firmware, or use -accel tcg`;
    case Errno.ENODEV:
    case Errno.ENXIO:
      return `${KVM_PATH} has no driver behind it: load the kernel module kvm_intel or kvm_amd, or use -accel tcg`;
    default:
      return "use -accel tcg";
  }
}

/** The opened device. */
export class KvmDevice {
  readonly mmapBytes: number;

  private constructor(
    readonly sys: HostSyscalls,
    readonly fd: number,
  ) {
    this.mmapBytes = sys.ioctl(fd, System.getVcpuMmapSize, 0);
  }

  /** @returns the device, or what stands in the way */
  static open(sys: HostSyscalls, path = KVM_PATH): KvmDevice | KvmObstacle {
    const fd = sys.open(path, O_RDWR_CLOEXEC);
    if (fd < 0) return { line: `Could not access KVM kernel module: ${strerror(-fd)}`, advice: openAdvice(-fd) };
    const version = sys.ioctl(fd, System.getApiVersion, 0);
    const refuse = (line: string, advice: string): KvmObstacle => {
      sys.close(fd);
      return { line, advice };
    };
    if (version < 0)
      return refuse(`Could not access KVM kernel module: ${strerror(-version)}`, `${path} is not KVM; use -accel tcg`);
    if (version !== API_VERSION)
      return refuse(
        version < API_VERSION ? "kvm version too old" : "kvm version not supported",
        `the kernel's KVM API has version ${version}, ${API_VERSION} is needed; use -accel tcg`,
      );
    const device = new KvmDevice(sys, fd);
    const missing = CAPABILITIES.filter((c) => "required" in c && c.required && device.capability(c.name) === 0);
    if (missing.length > 0 || device.mmapBytes <= 0)
      return refuse(
        `kvm does not support ${missing[0]?.name ?? "vCPU mappings"}`,
        `the kernel's KVM lacks: ${missing.map((c) => c.meaning).join(", ")}; use a newer kernel or -accel tcg`,
      );
    return device;
  }

  /** KVM_CHECK_EXTENSION: 0 = absent; otherwise 1 or a number with the capability's own meaning. */
  capability(name: CapabilityName): number {
    const c = CAPABILITIES.find((x) => x.name === name)!;
    return Math.max(0, this.sys.ioctl(this.fd, System.checkExtension, c.number));
  }

  /** The most vCPUs of a VM. */
  get maxVcpus(): number {
    return this.capability("max_vcpus") || this.capability("nr_vcpus") || 4;
  }

  /** A new VM's descriptor. @throws VmError "accel/failed" */
  createVm(): number {
    for (;;) {
      const fd = this.sys.ioctl(this.fd, System.createVm, 0);
      if (fd >= 0) return fd;
      if (fd !== -Errno.EINTR) throw new VmError("accel/failed", `failed to initialize kvm: ${strerror(-fd)}; use -accel tcg`);
    }
  }

  close(): void {
    this.sys.close(this.fd);
  }
}

export function isObstacle(x: KvmDevice | KvmObstacle): x is KvmObstacle {
  return !(x instanceof KvmDevice);
}
