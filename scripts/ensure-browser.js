// Before checks in a real browser: finds Chromium, or installs Debian's where it may. A machine without one says
// so and leaves the check out, by exit code 3; under CI (the variable CI is set) that is a failure.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { findChromium } from "./browser/launch.js";

/** Whether this is a Debian whose packages this user may install without a question. */
function mayInstall() {
  let system = "";
  try {
    system = readFileSync("/etc/os-release", "utf8");
  } catch {
    return false;
  }
  const root = process.getuid?.() === 0;
  const quiet = root || spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0;
  return /^ID=debian$/m.test(system) && quiet; // Ubuntu's package asks for snap
}

function install() {
  const prefix = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  const run = (...args) => {
    const [program, ...rest] = [...prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...args];
    return spawnSync(program, rest, { stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  };
  console.error("no Chromium found; installing Debian's package");
  return run("update", "-qq") && run("install", "-y", "-qq", "--no-install-recommends", "chromium");
}

if (!findChromium() && !(mayInstall() && install() && findChromium())) {
  const advice = "install Chromium, or name its program in CHROMIUM";
  if (process.env.CI) {
    console.error(`no browser found: ${advice}`);
    process.exit(1);
  }
  console.error(`no browser found, so what needs one is left out: ${advice}`);
  process.exit(3);
}
