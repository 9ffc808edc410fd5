import type { Within } from "./root.js";

/** The settings of a unit: each may stand several times. */
export type Unit = ReadonlyMap<string, readonly string[]>;

export function readUnit(text: string): Unit {
  const unit = new Map<string, string[]>();
  for (const [, name, value] of text.matchAll(/^(\w+)=(.*)$/gm))
    unit.set(name, [...(unit.get(name) ?? []), value]);
  return unit;
}

const dynamicUser = "61184"; // the first of systemd's dynamic users

/**
 * Those restrictions of a unit that can be tried without systemd.
 * @throws Error  the unit lacks one: what was run would be more restricted than the unit
 */
export function restrictions(unit: Unit): {
  readonly within: Pick<Within, "env" | "mounts" | "before">;
  readonly applied: readonly string[];
} {
  const wanted = {
    DynamicUser: "yes",
    NoNewPrivileges: "yes",
    CapabilityBoundingSet: "",
    ProtectSystem: "strict",
    ProtectHome: "yes",
    PrivateTmp: "yes",
    UMask: "0077",
    LimitCORE: "0",
  };
  for (const [name, value] of Object.entries(wanted))
    if (unit.get(name)?.[0] !== value) throw new Error(`unit: expected ${name}=${value}`);
  const cache = `/var/cache/${unit.get("CacheDirectory")![0]}`;
  const mounts = `
    mkdir -p "$ROOT${cache}"
    mount --bind "$ROOT" "$ROOT" # what was mounted in it is mounted again
    for name in proc dev; do mount --rbind /$name "$ROOT/$name"; done
    mount -o remount,bind,ro "$ROOT"
    mount -t tmpfs -o mode=0755,uid=${dynamicUser},gid=${dynamicUser} tmpfs "$ROOT${cache}"
    mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
    for name in home root; do mount -t tmpfs -o mode=0000 tmpfs "$ROOT/$name"; done
    umask 0077; ulimit -c 0`;
  const options = ["--reuid", dynamicUser, "--regid", dynamicUser, "--clear-groups", "--no-new-privs"];
  const env = Object.fromEntries(unit.get("Environment")!.map((text) => text.split("=") as [string, string]));
  return {
    within: { env, mounts, before: ["setpriv", ...options, "--bounding-set=-all", "--inh-caps=-all"] },
    applied: Object.entries(wanted).map(([name, value]) => `${name}=${value}`),
  };
}
