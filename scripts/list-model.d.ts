/** The listing of a model's folder: see docs/browser.md. */
export function listModel(
  directory: string,
  name?: string,
): {
  readonly name: string;
  readonly files: readonly { readonly path: string; readonly size: number; readonly sha256: string }[];
};
