import importX from "eslint-plugin-import-x";
import tseslint from "typescript-eslint";
import { createTypeScriptImportResolver } from "eslint-import-resolver-typescript";
import { rooms } from "./rooms.js";

/** A room may not import from a room above it; what serves all rooms may not import from any. */
const zones = [
  ...rooms.flatMap((room, i) =>
    rooms.slice(0, i).map((above) => ({ target: `./src/${room}`, from: `./src/${above}` })),
  ),
  ...rooms.map((room) => ({ target: "./src/!(index|node|train).ts", from: `./src/${room}` })),
];

export default tseslint.config(
  {
    ignores: [
      "dist",
      "dist-web",
      "coverage",
      "docs-api",
      "node_modules",
      "golden/.venv",
      "golden/.cache",
      "models",
      "**/*.d.ts",
    ],
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
      "no-restricted-syntax": [
        "error",
        {
          selector: "ObjectExpression > SpreadElement > ObjectExpression",
          message: "Write the properties in the object itself.",
        },
      ],
      "max-lines": ["error", { max: 400 }],
      "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }],
      "max-params": ["error", 6],
    },
  },
  {
    files: ["**/*.test.ts", "test/**/*.ts", "bench/**/*.ts", "experiments/**/*.ts", "examples/**/*.ts"],
    rules: { "max-lines-per-function": "off", "import-x/no-restricted-paths": "off" },
  },
  { files: ["**/*.config.ts"], rules: { "import-x/no-default-export": "off" } },
  { files: ["**/*.js"], extends: [tseslint.configs.disableTypeChecked] },
);
