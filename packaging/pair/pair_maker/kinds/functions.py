"""The Python functions that can be ordered.

Slots: {p} the parameter, {name} the function's name, {c} and {d} constants.  Only data.
"""

from __future__ import annotations

from typing import NamedTuple


class Function(NamedTuple):
    """One function: its usual name first, what it does in words, parameter names, head, body and example call."""

    names: tuple[str, ...]
    does: tuple[str, ...]
    parameters: tuple[str, ...]
    head: str
    body: str
    call: str


_NUMBER = ("n", "number", "value", "x")
_LIST = ("values", "numbers", "items", "data")
_TEXT = ("text", "word", "line", "s")


def _one(
    names: str, does: str, parameters: tuple[str, ...], body: str, call: str, head: str = "{p}"
) -> Function:
    return Function(tuple(names.split()), tuple(does.split(" / ")), parameters, head, body, call)


FUNCTIONS = (
    _one("add plus sum_two", "adds two numbers / returns the sum of two numbers", ("a",), "return a + b", "2, 3", "{p}, b"),
    _one("subtract minus difference", "subtracts two numbers", ("a",), "return a - b", "5, 3", "{p}, b"),
    _one("multiply times product_two", "multiplies two numbers", ("a",), "return a * b", "2, 3", "{p}, b"),
    _one("divide safe_divide", "divides two numbers and returns None for zero", ("a",),
         "if b == 0:\n    return None\nreturn a / b", "6, 3", "{p}, b"),
    _one("power raise_to", "raises a number to a power", ("a",), "return a ** b", "2, 3", "{p}, b"),
    _one("larger max_two", "returns the larger of two numbers", ("a",), "return a if a > b else b", "2, 3", "{p}, b"),
    _one("smaller min_two", "returns the smaller of two numbers", ("a",), "return a if a < b else b", "2, 3", "{p}, b"),
    _one("gcd common_divisor", "returns the greatest common divisor of two numbers", ("a",),
         "while b:\n    a, b = b, a % b\nreturn a", "12, 8", "{p}, b"),
    _one("is_even even check_even", "checks if a number is even / tells if a number is even", _NUMBER,
         "return {p} % 2 == 0", "4"),
    _one("is_odd odd check_odd", "checks if a number is odd / tells if a number is odd", _NUMBER,
         "return {p} % 2 == 1", "3"),
    _one("is_positive positive", "checks if a number is positive", _NUMBER, "return {p} > 0", "5"),
    _one("square squared", "squares a number / returns the square of a number", _NUMBER, "return {p} * {p}", "4"),
    _one("cube cubed", "returns the cube of a number", _NUMBER, "return {p} ** 3", "2"),
    _one("double twice", "doubles a number / returns a number times two", _NUMBER, "return 2 * {p}", "4"),
    _one("half halve", "returns half of a number", _NUMBER, "return {p} / 2", "4"),
    _one("absolute abs_value", "returns the absolute value of a number", _NUMBER,
         "if {p} < 0:\n    return -{p}\nreturn {p}", "-3"),
    _one("add_number increase", "adds {c} to a number / returns a number plus {c}", _NUMBER, "return {p} + {c}", "1"),
    _one("times_number scale", "multiplies a number by {c}", _NUMBER, "return {p} * {c}", "2"),
    _one("is_larger above", "checks if a number is larger than {c}", _NUMBER, "return {p} > {c}", "8"),
    _one("divides is_divisible", "checks if a number is divisible by {c}", _NUMBER, "return {p} % {c} == 0", "12"),
    _one("clamp limit", "limits a number to the range from {c} to {d}", _NUMBER, "return max({c}, min({p}, {d}))", "50"),
    _one("factorial fact", "returns the factorial of a number / computes the factorial", _NUMBER,
         "result = 1\nfor i in range(2, {p} + 1):\n    result *= i\nreturn result", "5"),
    _one("fibonacci fib", "returns the Fibonacci number at a position / computes Fibonacci numbers", _NUMBER,
         "a, b = 0, 1\nfor i in range({p}):\n    a, b = b, a + b\nreturn a", "7"),
    _one("is_prime prime", "checks if a number is prime / tells if a number is a prime", _NUMBER,
         "if {p} < 2:\n    return False\nfor i in range(2, {p}):\n    if {p} % i == 0:\n        return False\nreturn True", "7"),
    _one("count_down countdown", "counts down from a number / prints a countdown", _NUMBER,
         "while {p} > 0:\n    print({p})\n    {p} -= 1", "3"),
    _one("sum_to total_to", "adds all numbers from 1 to a number", _NUMBER, "return sum(range(1, {p} + 1))", "10"),
    _one("sum_digits digit_sum", "returns the sum of the digits of a number", _NUMBER,
         "return sum(int(digit) for digit in str({p}))", "47"),
    _one("to_fahrenheit fahrenheit", "converts Celsius to Fahrenheit", ("celsius", "c", "degrees"),
         "return {p} * 9 / 5 + 32", "20"),
    _one("to_celsius celsius", "converts Fahrenheit to Celsius", ("fahrenheit", "f", "degrees"),
         "return ({p} - 32) * 5 / 9", "68"),
    _one("sum_list total add_all", "sums a list / adds all numbers of a list", _LIST,
         "total = 0\nfor item in {p}:\n    total += item\nreturn total", "[1, 2, 3]"),
    _one("product multiply_all", "multiplies all numbers of a list", _LIST,
         "result = 1\nfor item in {p}:\n    result *= item\nreturn result", "[1, 2, 3]"),
    _one("average mean", "returns the average of a list / computes the mean of a list", _LIST,
         "return sum({p}) / len({p})", "[1, 2, 3]"),
    _one("maximum largest find_max", "finds the maximum of a list / returns the largest number of a list", _LIST,
         "best = {p}[0]\nfor item in {p}:\n    if item > best:\n        best = item\nreturn best", "[1, 3, 2]"),
    _one("minimum smallest find_min", "finds the minimum of a list / returns the smallest number of a list", _LIST,
         "best = {p}[0]\nfor item in {p}:\n    if item < best:\n        best = item\nreturn best", "[1, 3, 2]"),
    _one("evens keep_even", "returns the even numbers of a list", _LIST,
         "return [item for item in {p} if item % 2 == 0]", "[1, 2, 3, 4]"),
    _one("squares square_all", "squares all numbers of a list", _LIST, "return [item * item for item in {p}]", "[1, 2, 3]"),
    _one("first_item first", "returns the first item of a list", _LIST, "return {p}[0]", "[1, 2, 3]"),
    _one("last_item last", "returns the last item of a list", _LIST, "return {p}[-1]", "[1, 2, 3]"),
    _one("sort_list sort_items", "sorts a list", _LIST, "return sorted({p})", "[3, 1, 2]"),
    _one("reverse_list turn_around", "reverses a list", _LIST, "return {p}[::-1]", "[1, 2, 3]"),
    _one("unique remove_double", "removes the duplicates of a list", _LIST,
         "result = []\nfor item in {p}:\n    if item not in result:\n        result.append(item)\nreturn result", "[1, 1, 2]"),
    _one("count_items count_above", "counts the numbers of a list above {c}", _LIST,
         "return sum(1 for item in {p} if item > {c})", "[1, 30, 50]"),
    _one("reverse reverse_text backwards", "reverses a text / turns a string around", _TEXT, "return {p}[::-1]", '"hello"'),
    _one("count_vowels vowels", "counts the vowels in a text / counts vowels", _TEXT,
         'return sum(1 for letter in {p}.lower() if letter in "aeiou")', '"hello"'),
    _one("is_palindrome palindrome", "checks if a word is a palindrome", _TEXT, "return {p} == {p}[::-1]", '"level"'),
    _one("count_words words", "counts the words in a text", _TEXT, "return len({p}.split())", '"one two"'),
    _one("shout upper", "turns a text into upper case", _TEXT, "return {p}.upper()", '"hello"'),
    _one("length text_length", "returns the length of a text", _TEXT, "return len({p})", '"hello"'),
    _one("greet say_hello", "greets a person by name / returns a greeting for a name", ("name", "person", "who"),
         'return "Hello, " + {p} + "!"', '"Mira"'),
    _one("repeat_text repeat", "repeats a text {c} times", _TEXT, "return {p} * {c}", '"ab"'),
    _one("first_letter initial", "returns the first letter of a word", _TEXT, "return {p}[0]", '"hello"'),
)  # fmt: skip
