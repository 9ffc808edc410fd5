import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { pagePolicy } from "../src/server/http/page-policy.js";

const policyTag = {
  tag: "meta",
  attrs: { "http-equiv": "content-security-policy", content: pagePolicy },
  injectTo: "head-prepend" as const,
};

/** The page of the engine: static files that work under any path. */
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  build: {
    outDir: fileURLToPath(new URL("../dist-web", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the policy allows no data: scripts
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  worker: { format: "es" },
  plugins: [{ name: "policy", apply: "build", transformIndexHtml: () => [policyTag] }],
});
