/** A failed system call, as the addon throws it and as Node's own file system calls do (there `errno` is negative). */
export interface SystemError extends Error {
  /** `'ENOENT'` */
  code: string;
  errno: number;
  syscall: string;
  path?: string;
}

/**
 * Whether that is what was thrown; with codes: whether it is one of these.
 *
 * ```ts
 * try { native.umount(target, 0); } catch (error) {
 *   if (!isSystemError(error, 'EINVAL', 'ENOENT')) throw error;
 * }
 * ```
 */
export function isSystemError(error: unknown, ...codes: string[]): error is SystemError {
  if (!(error instanceof Error)) return false;
  const { code, syscall } = error as Partial<SystemError>;
  return typeof code === 'string' && typeof syscall === 'string' && (codes.length === 0 || codes.includes(code));
}
