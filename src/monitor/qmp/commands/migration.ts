/** Saving and loading a machine's state. Source: QEMU 7.2 qapi/migration.json. */
import { MIGRATION_CAPABILITIES } from "../../../machine/migration.js";
import { command, type QmpClient, type QmpCommand } from "../command.js";
import { generic } from "../errors.js";
import { MIGRATION_STATUS } from "../events.js";
import { array, bool, enumeration, int, number, optional, str, struct, wide } from "../types.js";

const CAPABILITY = struct("MigrationCapabilityStatus", {
  capability: enumeration("MigrationCapability", MIGRATION_CAPABILITIES),
  state: bool,
});
const RAM = struct("MigrationStats", {
  transferred: int,
  remaining: int,
  total: int,
  duplicate: int,
  skipped: int,
  normal: int,
  "normal-bytes": int,
  "dirty-pages-rate": int,
  mbps: number,
  "dirty-sync-count": int,
  "postcopy-requests": int,
  "page-size": int,
  "multifd-bytes": int,
  "pages-per-second": int,
});
const PAGE = 4096;

/** `fd:NAME` by the names of getfd; the descriptor is the migration's from then on. */
function withDescriptor(uri: string, client: QmpClient): string {
  const name = /^fd:(\D.*)$/s.exec(uri)?.[1];
  if (name === undefined) return uri;
  const fd = client.fds.get(name);
  if (fd === undefined) throw generic(`File descriptor named '${name}' has not been found`);
  client.fds.delete(name);
  return `fd:${fd}`;
}

export const MIGRATION_COMMANDS: readonly QmpCommand[] = [
  command("migrate", {
    doc: "Saves the machine to a stream (exec:, file:, fd:, unix:, tcp:); it stands still from then on.",
    args: { uri: str, blk: optional(bool), inc: optional(bool), detach: optional(bool), resume: optional(bool) },
    run: async ({ target, client }, { uri, blk, inc, resume }) => {
      for (const [name, on] of Object.entries({ blk, inc, resume }))
        if (on) throw generic(`Parameter '${name}' is not supported`);
      await target.migration.start(withDescriptor(uri, client));
    },
  }),
  command("migrate_cancel", {
    doc: "Gives up a migration; the machine goes on.",
    run: ({ target }) => target.migration.cancel(),
  }),
  command("migrate-incoming", {
    doc: "Loads a state from a stream, with -incoming defer.",
    args: { uri: str },
    run: ({ target, client }, { uri }) => {
      if (target.runState !== "inmigrate") throw generic("'-incoming' was not specified on the command line");
      if (target.config.incoming !== "defer") throw generic("'-incoming defer' was not specified on the command line");
      if (target.migration.busy) throw generic("The incoming migration has already been started");
      // Where it stands is told by events and query-migrate.
      void target.load(withDescriptor(uri, client)).catch((e) => target.note(`migrate-incoming ${uri}: ${e.message}`));
    },
  }),
  command("query-migrate", {
    doc: "Where the last migration stands.",
    returns: struct("MigrationInfo", {
      status: optional(MIGRATION_STATUS),
      "total-time": optional(int),
      downtime: optional(int),
      "setup-time": optional(int),
      "error-desc": optional(str),
      ram: optional(RAM),
    }),
    run: ({ target }) => {
      const { info } = target.migration;
      if (!info) return {};
      const { progress: p } = info;
      const counted = info.totalTimeMs !== undefined;
      return {
        status: info.status,
        "total-time": counted ? Math.round(info.totalTimeMs!) : undefined,
        downtime: info.downtimeMs === undefined ? undefined : Math.round(info.downtimeMs),
        "setup-time": counted ? 0 : undefined,
        "error-desc": info.error,
        ram: counted
          ? {
              transferred: p.streamBytes,
              remaining: p.totalBytes - p.doneBytes,
              total: p.totalBytes,
              duplicate: Math.floor(p.zeroBytes / PAGE),
              skipped: 0,
              normal: Math.floor((p.doneBytes - p.zeroBytes) / PAGE),
              "normal-bytes": p.doneBytes - p.zeroBytes,
              "dirty-pages-rate": 0,
              mbps: (info.rate * 8) / 1e6,
              "dirty-sync-count": 1,
              "postcopy-requests": 0,
              "page-size": PAGE,
              "multifd-bytes": 0,
              "pages-per-second": 0,
            }
          : undefined,
      };
    },
  }),
  command("query-migrate-capabilities", {
    doc: "The switches of migration.",
    returns: array(CAPABILITY),
    run: ({ target }) =>
      MIGRATION_CAPABILITIES.map((capability) => ({ capability, state: target.migration.capabilities[capability] })),
  }),
  command("migrate-set-capabilities", {
    doc: "Sets switches of migration.",
    args: { capabilities: array(CAPABILITY) },
    run: ({ target }, { capabilities }) => {
      if (target.migration.busy) throw generic("There's a migration process in progress");
      for (const { capability, state } of capabilities) target.migration.capabilities[capability] = state;
    },
  }),
  command("query-migrate-parameters", {
    doc: "The numbers of migration.",
    returns: struct("MigrationParameters", { "max-bandwidth": optional(wide) }),
    run: ({ target }) => ({ "max-bandwidth": target.migration.maxBandwidth }),
  }),
  command("migrate-set-parameters", {
    doc: "Sets numbers of migration; max-bandwidth is bytes a second.",
    args: { "max-bandwidth": optional(wide) },
    run: ({ target }, { "max-bandwidth": bandwidth }) => {
      if (bandwidth === undefined) return;
      if (bandwidth < 0) throw generic("Parameter 'max-bandwidth' expects a number of bytes a second");
      const bytes = Number(bandwidth);
      target.migration.maxBandwidth = bytes === 0 ? Number.MAX_SAFE_INTEGER : Math.min(bytes, Number.MAX_SAFE_INTEGER);
    },
  }),
];
