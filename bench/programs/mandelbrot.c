/*
 * Scalar floating point, single and double: how often the points of an N x N grid stay in the
 * Mandelbrot set.  Multiplies, adds and a compare with a branch per step.  Built without contraction
 * to fused operations, so that the counts are the same on every machine.
 */
#include <stdio.h>
#include <stdlib.h>

static int steps_double(double cr, double ci)
{
    double zr = 0, zi = 0;
    int n = 0;
    while (n < 200 && zr * zr + zi * zi <= 4.0) {
        double t = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = t;
        n++;
    }
    return n;
}

static int steps_float(float cr, float ci)
{
    float zr = 0, zi = 0;
    int n = 0;
    while (n < 200 && zr * zr + zi * zi <= 4.0f) {
        float t = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = t;
        n++;
    }
    return n;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 300;
    unsigned long total_double = 0, total_float = 0;
    for (int y = 0; y < n; y++) {
        for (int x = 0; x < n; x++) {
            double cr = 3.0 * x / n - 2.0, ci = 2.0 * y / n - 1.0;
            total_double += steps_double(cr, ci);
            total_float += steps_float(cr, ci);
        }
    }
    printf("%lu %lu\n", total_double, total_float);
    return 0;
}
