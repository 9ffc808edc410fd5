/** What a drop holds. */
export interface Dropped {
  readonly files: readonly File[];
  /** Files of dropped folders whose names are not those of audio. */
  readonly others: number;
  /** Whether a folder has more entries than are looked at. */
  readonly isCut: boolean;
}

/** Entries of a dropped folder that are looked at. */
export const mostEntries = 5000;
const audible =
  /\.(wav|wave|bwf|rf64|w64|aiff?|aifc|au|snd|caf|mp[1234]|m4[abv]|mov|aac|flac|og[agvx]|opus|web[am]|mk[av]|3gpp?|wma)$/i;

/** The entries of a folder; they come in parts. */
async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const entries: FileSystemEntry[] = [];
  while (entries.length <= mostEntries) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (part.length === 0) break;
    entries.push(...part);
  }
  return entries;
}

const fileOf = (entry: FileSystemFileEntry): Promise<File> =>
  new Promise((resolve, reject) => entry.file(resolve, reject));

/** The recordings below a folder, by their paths. */
async function below(folder: FileSystemDirectoryEntry): Promise<Dropped> {
  const files: File[] = [];
  let [others, seen] = [0, 0];
  const sorted = (): File[] => files.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const folders = [folder];
  for (let next = folders.pop(); next; next = folders.pop())
    for (const entry of await entriesOf(next)) {
      if (++seen > mostEntries) return { files: sorted(), others, isCut: true };
      if (entry.isDirectory) folders.push(entry as FileSystemDirectoryEntry);
      else if (audible.test(entry.name)) files.push(await fileOf(entry as FileSystemFileEntry));
      else others++;
    }
  return { files: sorted(), others, isCut: false };
}

/** The files of a drop, and the recordings in its folders. @throws  a folder cannot be read */
export async function droppedFiles(transfer: DataTransfer): Promise<Dropped> {
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  // All are asked for before the first wait: a drop is empty after its event.
  const all = items.map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const files: File[] = [];
  let [others, isCut] = [0, false];
  for (const { entry, file } of all) {
    if (entry?.isDirectory) {
      const found = await below(entry as FileSystemDirectoryEntry);
      files.push(...found.files);
      others += found.others;
      isCut ||= found.isCut;
    } else if (file) files.push(file);
  }
  return { files, others, isCut };
}
