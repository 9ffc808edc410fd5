import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "#wgsl": fileURLToPath(new URL("./src/wgsl.node.ts", import.meta.url)) } },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    pool: "forks", // a process a file: Dawn keeps one instance for the process's life
    maxWorkers: 2,
    reporters: process.env.CI_REPORT
      ? ["default", ["json", { outputFile: process.env.CI_REPORT }]]
      : ["default"],
    env: { FUNASR_WEBGPU_TUNING: "off" }, // what was tuned on this machine is not what is tested
    testTimeout: 600_000, // limits catch hangs alone: no test depends on the speed of the machine
    hookTimeout: 600_000,
  },
});
