import type { Browser } from "playwright-core";

/** The program: CHROMIUM, or the first in PATH; undefined where there is none. */
export function findChromium(): string | undefined;

/** Starts Chromium with WebGPU by SwiftShader, or without an adapter. */
export function launch(options?: {
  readonly webgpu?: boolean;
  readonly args?: readonly string[];
}): Promise<Browser>;
