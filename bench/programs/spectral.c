/*
 * Scalar floating point: the spectral norm of an N x N matrix whose elements are computed.  One
 * conversion from integer, one division, one multiply-add per element.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double element(int i, int j)
{
    return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1);
}

static void times(int n, const double *v, double *out)
{
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < n; j++) {
            sum += element(i, j) * v[j];
        }
        out[i] = sum;
    }
}

static void times_transposed(int n, const double *v, double *out)
{
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < n; j++) {
            sum += element(j, i) * v[j];
        }
        out[i] = sum;
    }
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 500;
    double *u = calloc(n, sizeof(*u)), *v = calloc(n, sizeof(*v)), *t = calloc(n, sizeof(*t));
    double uv = 0, vv = 0;

    for (int i = 0; i < n; i++) {
        u[i] = 1;
    }
    for (int i = 0; i < 10; i++) {
        times(n, u, t);
        times_transposed(n, t, v);
        times(n, v, t);
        times_transposed(n, t, u);
    }
    for (int i = 0; i < n; i++) {
        uv += u[i] * v[i];
        vv += v[i] * v[i];
    }
    printf("%.9f\n", sqrt(uv / vv));
    free(u);
    free(v);
    free(t);
    return 0;
}
