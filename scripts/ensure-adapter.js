// Before the demo and the tests: finds a WebGPU adapter, or installs the software one if possible.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

/** Runs in a process of its own: Dawn looks for drivers once in a process. */
function adapterFound() {
  const { status, stderr } = spawnSync(process.execPath, [join(here, "check-adapter.js")], {
    encoding: "utf8",
  });
  if (status === 0)
    process.stderr.write(
      stderr
        .split("\n")
        .filter((line) => line.startsWith("WebGPU"))
        .join("\n") + "\n",
    );
  return status === 0;
}

function fail(advice) {
  console.error(`no WebGPU adapter found: ${advice}`);
  process.exit(1);
}

if (!adapterFound()) {
  const hidden = process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES;
  if (hidden) fail(`VK_DRIVER_FILES or VK_ICD_FILENAMES limits Vulkan to ${hidden}; unset it`);
  if (process.platform !== "linux")
    fail("expected a Metal (macOS) or D3D12 (Windows) driver; update the graphics driver");
  console.error("no WebGPU adapter found; installing software Vulkan with scripts/software-vulkan.sh");
  const { status } = spawnSync("bash", [join(here, "software-vulkan.sh")], { stdio: "inherit" });
  if (status !== 0)
    fail("install a Vulkan driver (Mesa 24 or newer), or run scripts/software-vulkan.sh as root");
  if (!adapterFound()) fail("scripts/software-vulkan.sh ran, but Dawn still finds none");
}
