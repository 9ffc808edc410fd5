import { readFileSync } from "node:fs";

/** A block of code of a page. */
export interface CodeBlock {
  readonly language: string;
  readonly code: string;
}

const pageAddress = "127.0.0.1:8000";

/** The blocks of the section "Quick starts" of docs/serving.md, as they stand there. */
export function quickStarts(): CodeBlock[] {
  const page = readFileSync(new URL("../../docs/serving.md", import.meta.url), "utf8");
  const section = page.split("\n## Quick starts\n")[1].split("\n## ")[0];
  return [...section.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, code]) => ({ language, code }));
}

/** A block's code with the address of a server in the place of the page's. */
export function at(address: string, { code }: CodeBlock): string {
  return code.replaceAll(pageAddress, new URL(address).host);
}
