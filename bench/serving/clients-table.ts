/** One check of a client that others wrote. */
export interface ClientRow {
  readonly client: string;
  readonly check: string;
  readonly ok: boolean;
  readonly seconds: number;
  readonly detail: string;
}

/** A file of `npm run check:clients`. */
export interface ClientsResults {
  readonly command: string;
  readonly commit: string;
  readonly node: string;
  readonly python: string;
  readonly rows: readonly ClientRow[];
}

const cell = (text: string): string => text.trim().replaceAll(/\s+/g, " ").replaceAll("|", "\\|");

/** The table of a file of `npm run check:clients`: a row for each client, and the checks that fail. */
export function clientsTable({ rows, python, node, commit }: ClientsResults, file?: string): string {
  const about = `${file === undefined ? "One run" : `Of \`${file}\`: one run`} of \`npm run check:clients\` with the demo model, ${python}, node ${node}, commit ${commit}.`;
  const lines = [...new Set(rows.map(({ client }) => client))].map((client) => {
    const own = rows.filter((row) => row.client === client);
    const held = own.filter(({ ok }) => ok).map(({ check }) => check);
    const failed = own.filter(({ ok }) => !ok).map(({ check, detail }) => `${check} (${cell(detail)})`);
    return `| ${client} | ${held.length} of ${own.length} | ${held.join(", ")} | ${failed.join(", ") || "–"} |`;
  });
  const head = ["| client | hold | checks | failed |", "| --- | --- | --- | --- |"];
  return [about, [...head, ...lines].join("\n")].join("\n\n");
}
