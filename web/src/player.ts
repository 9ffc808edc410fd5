let ending: ReturnType<typeof setInterval> | undefined;

/** Lets one player of the page play at a time. */
export function playOneAtATime(): void {
  const pauseOthers = ({ target }: Event): void => {
    for (const other of document.querySelectorAll("audio")) if (other !== target) other.pause();
  };
  document.addEventListener("play", pauseOthers, { capture: true });
}

/** Lets what plays go on to its end. */
function forgetEnd(): void {
  clearInterval(ending);
  ending = undefined;
}

/**
 * Plays a part of a recording alone; a later call, or the visitor's own use of the player, takes its
 * place. @throws  DOMException  the browser cannot play it, or did not start
 */
export async function playPart(player: HTMLMediaElement, start: number, end: number): Promise<void> {
  forgetEnd();
  player.currentTime = start;
  let before = start;
  const timer = (ending = setInterval(() => {
    const { currentTime: now, paused } = player;
    const jumped = now < before || now > before + 2; // by the visitor
    before = now;
    if (now >= end && !jumped) player.pause();
    if (now >= end || jumped || paused) forgetEnd();
  }, 25));
  await player.play().catch((error: unknown) => {
    if (ending === timer) forgetEnd();
    throw error;
  });
}
