import importX from "eslint-plugin-import-x";
import tseslint from "typescript-eslint";
import { createTypeScriptImportResolver } from "eslint-import-resolver-typescript";

const restrict = (target, ...from) => from.map((f) => ({ target: `./src/${target}`, from: `./src/${f}` }));
const top = ["decode", "train", "verify", "evaluate", "profile"];

// gpu ← kernels ← model ← decode, train, verify, evaluate, profile ← cli; frontend, tokenizer and checkpoint know nothing of the GPU;
// data, report and evaluate's metrics know nothing of the GPU; errors, json, shape and hash serve all; hub is for Node.
const aboveGpu = ["gpu", "kernels", "model", ...top.filter((t) => t !== "decode"), "node", "cli"];
const zones = [
  ...restrict("gpu", "kernels", "model", "frontend", "tokenizer", "checkpoint", ...top, "node", "cli"),
  ...restrict("kernels", "model", "frontend", "tokenizer", "checkpoint", ...top, "node", "cli"),
  ...restrict("model", ...top, "node", "cli"),
  ...restrict("frontend", "gpu", "kernels", "model", "tokenizer", "checkpoint", ...top, "node", "cli"),
  ...restrict("tokenizer", "gpu", "kernels", "model", "frontend", "checkpoint", ...top, "node", "cli"),
  ...restrict("checkpoint", "gpu", "kernels", "frontend", "tokenizer", ...top, "node", "cli"),
  { target: "./src/checkpoint", from: "./src/model", except: ["./config.ts"] }, // the rest of the model reaches the GPU
  ...restrict("data", ...aboveGpu, "decode"),
  ...restrict("report", ...aboveGpu, "decode", "data", "frontend", "tokenizer", "checkpoint"),
  ...restrict(
    "evaluate/metrics",
    ...aboveGpu.filter((t) => t !== "evaluate"),
    "data",
    "frontend",
    "tokenizer",
    "checkpoint",
  ),
  { target: "./src/evaluate/metrics", from: "./src/decode", except: ["./random.ts"] }, // the rest reaches the GPU
  { target: "./src/evaluate", from: "./src/train" },
  ...top.flatMap((t) => restrict(t, "cli")),
  ...restrict("node", "cli"),
  ...restrict("hub", "gpu", "kernels", "model", "frontend", "tokenizer", ...top, "cli"),
  ...["gpu", "kernels", "model", "frontend", "tokenizer", "checkpoint", ...top, "index.ts"].flatMap((t) =>
    restrict(t, "hub"),
  ),
];

export default tseslint.config(
  {
    ignores: ["dist", "coverage", "node_modules", "golden/.venv", "golden/.cache", "models", "**/*.d.ts"],
  },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    plugins: { "import-x": importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    settings: {
      "import-x/resolver-next": [
        createTypeScriptImportResolver({ project: "tsconfig.json", noWarnOnMultipleProjects: true }),
      ],
      "import-x/parsers": { "@typescript-eslint/parser": [".ts"] },
    },
    rules: {
      "import-x/no-cycle": "error",
      "import-x/no-default-export": "error",
      "import-x/no-restricted-paths": ["error", { zones }],
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-unnecessary-condition": "off",
      "max-lines": ["error", { max: 400 }],
      "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }],
      "max-params": ["error", 6],
    },
  },
  {
    files: ["**/*.test.ts", "test/**/*.ts", "bench/**/*.ts"],
    rules: { "max-lines-per-function": "off", "import-x/no-restricted-paths": "off" },
  },
  { files: ["*.config.ts"], rules: { "import-x/no-default-export": "off" } },
  { files: ["**/*.js"], extends: [tseslint.configs.disableTypeChecked] },
);
