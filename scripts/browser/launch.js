// A real browser for checks: Chromium of the system without a window, driven by playwright-core.
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

const names = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/** The program: CHROMIUM, or the first in PATH; undefined where there is none. */
export function findChromium() {
  const places = (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((place) => names.map((name) => join(place, name)));
  return process.env.CHROMIUM ?? places.find((file) => existsSync(file));
}

/** WebGPU by SwiftShader, the software driver in Chromium; its adapter has a name for pages. */
const swiftshader = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--enable-webgpu-developer-features",
];

/**
 * Starts Chromium. @returns playwright's Browser
 * Without `webgpu` there is no adapter. `args` are further switches. A host called insecure.test is this machine,
 * but no secure context.
 */
export function launch({ webgpu = true, args = [] } = {}) {
  return chromium.launch({
    executablePath: findChromium(),
    headless: true,
    args: [
      "--no-sandbox",
      "--autoplay-policy=no-user-gesture-required",
      "--host-resolver-rules=MAP insecure.test 127.0.0.1",
      ...(webgpu ? swiftshader : []),
      ...args,
    ],
  });
}
