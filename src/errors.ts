/** Base class of every error this package throws on purpose; its message is one line meant for the user. */
export class FunasrError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}
