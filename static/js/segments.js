"use strict";

// How a text is billed. The same algorithm as messaging/segments.py, tested on the same vectors.
(function () {
  const BASIC = new Set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
      "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
  );
  const EXTENSION = new Set("\f^{}\\[~]|€");
  const LIMITS = { "GSM-7": [160, 153], "UCS-2": [70, 67] };
  const REPLACEMENTS = new Map([
    ...Array.from("\u2018\u2019\u201a\u201b\u2032\u00b4`", (char) => [char, "'"]),
    ...Array.from("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", (char) => [char, '"']),
    ...Array.from("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", (char) => [char, "-"]),
    ...Array.from("\t\u00a0\u2002\u2003\u2007\u2009\u200a\u202f", (char) => [char, " "]),
    ...Array.from("\u00ad\u200b\u2060\ufeff", (char) => [char, ""]),
    ["\u2026", "..."],
    ["\u2022", "*"],
  ]);

  function isGsm(char) {
    return BASIC.has(char) || EXTENSION.has(char);
  }

  function width(char, encoding) {
    if (encoding === "GSM-7") {
      return EXTENSION.has(char) ? 2 : 1;
    }
    return char.length;
  }

  function count(text) {
    const chars = Array.from(text);
    const offender = chars.find((char) => !isGsm(char)) || "";
    const encoding = offender ? "UCS-2" : "GSM-7";
    const [single, part] = LIMITS[encoding];
    const widths = chars.map((char) => width(char, encoding));
    const units = widths.reduce((sum, one) => sum + one, 0);
    let segments = Math.min(units, 1);
    if (units > single) {
      let used = 0;
      for (const one of widths) {
        if (used + one > part) {
          segments += 1;
          used = 0;
        }
        used += one;
      }
    }
    return { encoding, units, segments, first_offender: offender };
  }

  function toGsm(text) {
    return Array.from(text, (char) => REPLACEMENTS.get(char) ?? char).join("");
  }

  window.fairleadSegments = { count, toGsm };
})();
