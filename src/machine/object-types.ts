/** What `-object` and `object-add` make. */

export interface ObjectType {
  readonly name: string;
  readonly properties: readonly string[];
  readonly description: string;
}

export const OBJECT_TYPES: readonly ObjectType[] = [
  {
    name: "filter-dump",
    properties: ["netdev", "file", "maxlen", "status", "queue"],
    description: "frames of a network into a pcap file",
  },
  { name: "rng-builtin", properties: [], description: "random bytes of the host" },
  { name: "rng-random", properties: ["filename"], description: "random bytes of a file (default /dev/urandom)" },
  {
    name: "memory-backend-ram",
    properties: ["size", "share", "prealloc", "merge", "dump", "x-use-canonical-path-for-ramblock-id"],
    description: "the guest's RAM, for -machine memory-backend=",
  },
  { name: "secret", properties: ["data", "file", "format", "keyid", "iv"], description: "a secret for other objects" },
];
