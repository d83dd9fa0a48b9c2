// Changes the URLs in the tags of a page, as it streams by, and nothing else. Bytes are taken as latin1, so that what is
// not changed stays as it is in any encoding whose ASCII is ASCII. (Kubernetes: apimachinery, util/proxy, Transport)

/** Attributes that hold a URL, by tag. */
const urlAttributes: Readonly<Record<string, readonly string[]>> = {
  a: ['href'],
  applet: ['codebase'],
  area: ['href'],
  audio: ['src'],
  base: ['href'],
  blockquote: ['cite'],
  body: ['background'],
  button: ['formaction'],
  command: ['icon'],
  del: ['cite'],
  embed: ['src'],
  form: ['action'],
  frame: ['longdesc', 'src'],
  head: ['profile'],
  html: ['manifest'],
  iframe: ['longdesc', 'src'],
  img: ['longdesc', 'src', 'usemap'],
  input: ['src', 'usemap', 'formaction'],
  ins: ['cite'],
  link: ['href'],
  object: ['classid', 'codebase', 'data', 'usemap'],
  q: ['cite'],
  script: ['src'],
  source: ['src'],
  video: ['poster', 'src'],
};

/** Elements whose content is no markup. */
const rawElements = new Set([
  'iframe',
  'noembed',
  'noframes',
  'noscript',
  'script',
  'style',
  'textarea',
  'title',
  'xmp',
]);
/** A tag that is longer is passed on as it is. */
const maxHeld = 65_536;

const isSpace = (char: string): boolean => /\s/.test(char);

/** The index after the tag that begins at `from`; undefined when it does not end in the text. */
function endOfTag(text: string, from: number): number | undefined {
  let quote = '';
  let afterEquals = false;
  for (let at = from + 1; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (quote !== '') {
      if (char === quote) quote = '';
    } else if (char === '>') return at + 1;
    else if (afterEquals && (char === '"' || char === "'")) quote = char;
    if (!isSpace(char)) afterEquals = char === '=' && quote === '';
  }
  return undefined;
}

function rewriteTag(tag: string, name: string, rewriteUrl: (url: string) => string): string {
  const attributes = urlAttributes[name];
  if (attributes === undefined) return tag;
  const head = tag.slice(0, name.length + 1);
  const rest = tag.slice(name.length + 1);
  return (
    head +
    rest.replace(
      /([^\s"'<>/=]+)(\s*=\s*)(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))/g,
      (all, key, equals, double, single, bare) => {
        if (!attributes.includes(String(key).toLowerCase())) return all;
        const value: string = double ?? single ?? bare ?? '';
        const changed = rewriteUrl(value);
        if (changed === value) return all;
        return `${key}${equals}${single === undefined ? `"${changed}"` : `'${changed}'`}`;
      },
    )
  );
}

export interface HtmlRewriter {
  /** What can be passed on after this piece of the page. */
  push(piece: Buffer): Buffer;
  /** What was held back. */
  end(): Buffer;
}

/** `rewriteUrl` gets the values as they are written and answers what to write instead. */
export function createHtmlRewriter(rewriteUrl: (url: string) => string): HtmlRewriter {
  let held = '';
  /** What ends the present stretch without markup: a comment or the content of a raw element. */
  let until: string | undefined;

  function take(isLast: boolean): string {
    let done = '';
    for (;;) {
      if (until !== undefined) {
        const end = held.toLowerCase().indexOf(until);
        if (end < 0) {
          const kept = isLast ? 0 : Math.min(held.length, until.length - 1);
          done += held.slice(0, held.length - kept);
          held = held.slice(held.length - kept);
          return done;
        }
        const after = until === '-->' ? end + until.length : end;
        done += held.slice(0, after);
        held = held.slice(after);
        until = undefined;
      }
      const start = held.indexOf('<');
      if (start < 0) {
        done += held;
        held = '';
        return done;
      }
      done += held.slice(0, start);
      held = held.slice(start);
      if (!isLast && held.length < 4) return done;
      if (held.startsWith('<!--')) {
        until = '-->';
        continue;
      }
      const end = /^<[/!?a-z]/i.test(held) ? endOfTag(held, 0) : 1;
      if (end === undefined) {
        if (!isLast && held.length < maxHeld) return done;
        done += held;
        held = '';
        return done;
      }
      const tag = held.slice(0, end);
      held = held.slice(end);
      const name = /^<([a-z][^\s/>]*)/i.exec(tag)?.[1]?.toLowerCase();
      if (name === undefined) {
        done += tag;
        continue;
      }
      done += rewriteTag(tag, name, rewriteUrl);
      if (rawElements.has(name) && !tag.endsWith('/>')) until = `</${name}`;
    }
  }

  return {
    push: (piece) => {
      held += piece.toString('latin1');
      return Buffer.from(take(false), 'latin1');
    },
    end: () => Buffer.from(take(true), 'latin1'),
  };
}
